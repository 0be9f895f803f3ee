"""The verbs for a cluster elsewhere: `submit`, and `submitted {list,status,logs,stop}`."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sigdca.cli.jobs import JobFile, Resume, Settings, SmokeTest
from sigdca.cli.output import errors, print_json, results
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Job, load_job

if TYPE_CHECKING:
    from sigdca.distributed.submission import Head, Submission

Address = Annotated[
    str | None,
    typer.Option(help="the dashboard, http://head:8265; default: RAY_API_SERVER_ADDRESS"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Name = Annotated[str, typer.Argument(metavar="ID", help="what `submit` printed")]


class Verb(str, Enum):
    """What to do with the job on the cluster."""

    run = "run"
    train = "train"
    compress = "compress"
    retest = "retest"
    search = "search"


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(submit)
    group = typer.Typer(
        help="Jobs that were submitted.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("list")(show_list)
    group.command()(status)
    group.command()(logs)
    group.command()(stop)
    app.add_typer(group, name="submitted")


def submit(
    job: JobFile,
    verb: Annotated[Verb, typer.Option(help="what to do with the job there")] = Verb.run,
    address: Address = None,
    settings: Settings = None,
    resume: Resume = False,
    smoke_test: SmokeTest = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="as `run --watch`: it does not end by itself")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="until it has ended")] = False,
    follow: Annotated[bool, typer.Option("--logs", help="show what it prints; waits")] = False,
    as_json: Json = False,
) -> int:
    """Run a job on a cluster elsewhere, by Ray's Jobs API.

    The job file and the files that it names by a relative path are sent, nothing is fetched there.
    With --wait or --logs the exit code is the job's own.

    Example: sigdca submit jobs/lenet-5-mnist.yaml --address http://head:8265 --wait
    """
    if resume and verb is Verb.retest:
        raise JobError("--resume: a retest begins anew; leave it out")
    loaded = load_job(job, settings or ())
    from sigdca.distributed.bundle import bundle_job, check_watch
    from sigdca.targets import load_target

    if watch:
        if verb is not Verb.run:
            raise JobError(f"--watch: is for the verb run, not {verb.value}")
        check_watch(loaded)
    for target in loaded.targets:
        load_target(target)
    with tempfile.TemporaryDirectory() as folder:
        name = bundle_job(loaded, Path(folder))
        command = ["sigdca", verb.value, name]
        command += ["--resume"] if resume else []
        command += ["--smoke-test"] if smoke_test else []
        command += ["--watch"] if watch else []
        head = _head(address)
        if verb in (Verb.run, Verb.retest, Verb.search):
            _say_what_is_not_there(loaded, job, head)
        submitted = head.submit(command, Path(folder), f"{loaded.name}-{verb.value}")
    errors.print(f"submitted {submitted.id} to {head.address}", soft_wrap=True)
    with _watching(head, submitted.id):
        if follow:
            _print_logs(head, submitted.id, sys.stderr if as_json else sys.stdout)
        if wait or follow:
            submitted = head.wait(submitted.id)
    _show(submitted, _about(loaded, verb, head), as_json)
    return exit_code(submitted) if wait or follow else 0


def show_list(address: Address = None, as_json: Json = False) -> int:
    """List the submissions that the head remembers, oldest first.

    Example: sigdca submitted list --address http://head:8265
    """
    found = _head(address).submissions()
    if as_json:
        print_json({"submissions": [asdict(one) for one in found]})
        return 0
    table = Table("id", "status", "exit code", "command")
    for one in found:
        code = "" if one.exit_code is None else str(one.exit_code)
        table.add_row(one.id, one.status, code, one.entrypoint)
    results.print(table)
    return 0


def status(name: Name, address: Address = None, as_json: Json = False) -> int:
    """Show how a submission stands.

    Example: sigdca submitted status lenet-5-mnist-run-1a2b3c4d --address http://head:8265
    """
    head = _head(address)
    _show(head.submission(name), {"address": head.address}, as_json)
    return 0


def logs(
    name: Name,
    address: Address = None,
    follow: Annotated[bool, typer.Option("--follow", help="until it has ended")] = False,
    as_json: Json = False,
) -> int:
    """Print what a submission has printed.

    Example: sigdca submitted logs lenet-5-mnist-run-1a2b3c4d --follow
    """
    head = _head(address)
    if follow:
        with _watching(head, name):
            if as_json:
                head.wait(name)
            else:
                _print_logs(head, name, sys.stdout)
    if as_json:
        print_json({"id": name, "logs": head.logs(name)})
    elif not follow:
        sys.stdout.write(head.logs(name))
    return 0


def stop(name: Name, address: Address = None, as_json: Json = False) -> int:
    """End a submission; `submit JOB --resume` goes on with its run.

    Example: sigdca submitted stop lenet-5-mnist-run-1a2b3c4d --address http://head:8265
    """
    head = _head(address)
    _show(head.stop(name), {"address": head.address}, as_json)
    return 0


def _head(address: str | None) -> Head:
    from sigdca.distributed.environment import prepare_client

    prepare_client()
    from sigdca.distributed.submission import Head

    return Head(address)


def _say_what_is_not_there(job: Job, path: str, head: Head) -> None:
    """A line for each target that no node stands for.

    Raises:
        JobError: the job requires more evidence of it than the cluster can have.
    """
    from sigdca.loop.check import check_targets
    from sigdca.targets import check_emulator, load_target

    targets = {name: load_target(name) for name in job.targets}
    nodes = head.evidence_of(targets, job.data.site)
    # Whether the head has QEMU is seen there, when the job begins.
    for line in check_targets(job, path, nodes, emulator=check_emulator):
        errors.print(line, soft_wrap=True)
    site = job.data.site
    of = "this cluster" if site is None else f"site {site} (data.site)"
    for name, target in targets.items():
        if name not in nodes and target.emulator is not None and not target.emulator.blocked_by:
            errors.print(
                f"target '{target.name}': no node of {of} stands for it; the head "
                "emulates it if it has QEMU, else the report says device-required"
                + (f" (a board joins by: sigdca edge join --target {name})" if not site else ""),
                soft_wrap=True,
            )


@contextlib.contextmanager
def _watching(head: Head, name: str) -> Iterator[None]:
    """Ctrl-C ends the watching alone, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        raise SigdcaError(
            f"no longer following; {name} goes on; `sigdca submitted stop {name} "
            f"--address {head.address}` ends it"
        ) from None


def _print_logs(head: Head, name: str, file: Any) -> None:
    for chunk in head.follow(name):
        file.write(chunk)
        file.flush()


def _about(job: Job, verb: Verb, head: Head) -> dict[str, str]:
    return {"address": head.address, "job": job.name, "verb": verb.value}


def _show(submitted: Submission, more: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(asdict(submitted) | more)
        return
    code = "" if submitted.exit_code is None else f", exit code {submitted.exit_code}"
    line = f"{submitted.id}: {submitted.status}{code}"
    shown = submitted.message if submitted.status != "SUCCEEDED" else ""
    results.print(f"{line}{': ' if shown else ''}{shown}", soft_wrap=True)


def exit_code(submitted: Submission) -> int:
    """The job's own, where it ended by itself with one of ours; else that of a fault."""
    code = submitted.exit_code
    if code is None or code not in _OURS or submitted.status == "STOPPED":
        return SigdcaError.exit_code
    return code


_OURS = (0, 1, 2, 3)
