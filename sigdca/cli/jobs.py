"""The verbs that run a job: `run`, `train`, `compress`, and `report` on what they left."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigdca.cli.output import StageProgress, errors, print_json, results
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Job, load_job
from sigdca.storage import Store, beneath, open_store

if TYPE_CHECKING:
    from sigdca.distributed.executor import ClusterExecutor
    from sigdca.edge.legs import Evidence
    from sigdca.loop.run import Outcome, Until
    from sigdca.report import Report

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="the job's YAML file")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="override one value of the job; repeatable"),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with the run of that name, as far as it came")
]
SmokeTest = Annotated[
    bool, typer.Option("--smoke-test", help="1,000 images, one epoch a stage: does it run?")
]
Address = Annotated[
    str | None,
    typer.Option(help="a running Ray cluster (host:port or auto); default: one started here"),
]
Json = Annotated[bool, typer.Option("--json", help="print the report as one JSON object")]

LEAST_ROOM_BYTES = 64 * 2**20  # the smallest job's checkpoints and containers are a third of it


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(run)
    app.command()(train)
    app.command()(compress)
    app.command()(report)


def run(
    job: JobFile,
    settings: Settings = None,
    resume: Resume = False,
    smoke_test: SmokeTest = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="then wait for new data, and go round again (watch:)")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> int:
    """Run the whole loop of a job.

    TRAIN, TEST, COMPRESS, RETRAIN, RETEST, PACKAGE, EDGE TEST.

    Example: sigdca run jobs/lenet-300-100-mnist.yaml --set seed=1
    """
    if watch:
        return _watch(job, settings, resume, smoke_test, address, as_json)
    return _run(job, settings, resume, smoke_test, address, as_json, "edge-test")


def train(
    job: JobFile,
    settings: Settings = None,
    resume: Resume = False,
    smoke_test: SmokeTest = False,
    address: Address = None,
    as_json: Json = False,
) -> int:
    """Run TRAIN and TEST only.

    `compress --resume` and `run --resume` go on from there. RUN/model.safetensors has the trained
    weights, for `weights:` of another job, and for `test`, `inspect` and `export` with --model.

    Example: sigdca train jobs/lenet-5-mnist.yaml --address auto
    """
    return _run(job, settings, resume, smoke_test, address, as_json, "test")


def compress(
    job: JobFile,
    settings: Settings = None,
    resume: Resume = False,
    smoke_test: SmokeTest = False,
    address: Address = None,
    as_json: Json = False,
) -> int:
    """Run the loop without the targets.

    As far as the container and its RETEST.

    Example: sigdca compress jobs/lenet-5-mnist.yaml --resume
    """
    return _run(job, settings, resume, smoke_test, address, as_json, "retest")


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run's folder, such as runs/NAME")],
    as_json: Json = False,
) -> int:
    """Write the report of a run, or of a study, anew.

    report.json (of a run) and report.html; prints the summary.

    Example: sigdca report runs/lenet-5-mnist
    """
    from sigdca.report import is_study

    store = open_store(run)
    if is_study(store):
        write_study_report(store)
        if as_json:
            print_json(json.loads(store.read("study.json")))
        else:
            results.print(f"report: {shown_path(store.path('report.html'))}", soft_wrap=True)
        return 0
    if not store.exists("job.yaml"):
        raise JobError(f"{run}: holds neither a run (job.yaml) nor a study (study.json)")
    _show(_write_report(store), store, as_json)
    return 0


def _run(
    path: str,
    settings: list[str] | None,
    resume: bool,
    smoke_test: bool,
    address: str | None,
    as_json: bool,
    until: Until,
) -> int:
    with _prepared(path, settings, resume, smoke_test, until, address) as (job, runs):
        from sigdca.loop import WEIGHTS, run_job

        store, progress = runs.child(job.name), StageProgress()
        try:
            with _connected(job, address) as executor:
                errors.print(f"run {job.name} on the cluster at {executor.cluster.address}")
                if _leads_to_targets(job, until) and elsewhere(address):
                    say_what_is_not_there(
                        job, path, executor.nodes_for(job.targets, job.data.site)
                    )
                outcome = run_job(job, executor, store, progress, until)
        except BaseException:
            progress.stop()
            with contextlib.suppress(SigdcaError):  # the fault itself is what to hear of
                _write_report(store)
            raise
        _show(_write_report(store), store, as_json)
    if outcome.best is None:
        weights = shown_path(store.path(WEIGHTS))
        takes = f"a job's `weights:`, or --model {job.model} of test, inspect and export"
        errors.print(f"trained weights: {weights} (for {takes})", soft_wrap=True)
    return _exit_code(job, outcome, store)


def _watch(
    path: str,
    settings: list[str] | None,
    resume: bool,
    smoke_test: bool,
    address: str | None,
    as_json: bool,
) -> int:
    with _prepared(path, settings, resume, smoke_test, "edge-test", address, True) as (job, runs):
        from sigdca.loop import Surroundings, watch_job

        progress = StageProgress()
        where = Surroundings(
            store=runs.child(job.name),
            address=beneath(lasting(job.storage), job.name),
            connect=lambda: _connected(job, address),
            progress=progress,
            report=_write_report,
        )
        try:
            ends = watch_job(job, where)
        except BaseException:
            progress.stop()
            raise
    if as_json:
        print_json({"cycles": [end.model_dump(mode="json") for end in ends]})
    return 0 if ends[-1].accepted else 1


@contextlib.contextmanager
def _prepared(
    path: str,
    settings: list[str] | None,
    resume: bool,
    smoke_test: bool,
    until: Until,
    address: str | None,
    watches: bool = False,
) -> Iterator[tuple[Job, Store]]:
    """The job, found to be sound, and where its run lies, which nobody else works on meanwhile."""
    job = load_job(path, settings or ())
    if smoke_test:
        job = job.smoke_test()
    runs = open_store(lasting(job.storage))
    runs.check_room(LEAST_ROOM_BYTES)
    from sigdca.loop import check_job, check_watched

    check_job(job, path)
    if watches:
        check_watched(job)
    if _leads_to_targets(job, until) and not elsewhere(address):
        say_what_is_not_there(job, path, {})  # a cluster started here has no boards
    with runs.lock(job.name):
        if not resume:
            set_aside(runs, job.name)
        yield job, runs


def _leads_to_targets(job: Job, until: Until) -> bool:
    return until == "edge-test" and job.compress is not None


def elsewhere(address: str | None) -> bool:
    """Whether a cluster is joined that was started by others, and may have boards."""
    return address is not None or bool(os.environ.get("RAY_ADDRESS"))


@contextlib.contextmanager
def _connected(job: Job, address: str | None) -> Iterator[ClusterExecutor]:
    from sigdca.distributed import connect

    # Ray tells what its nodes say on standard output, which is for results alone.
    with (
        contextlib.redirect_stdout(sys.stderr),
        connect(address, job.train.workers) as executor,
    ):
        yield executor


def _exit_code(job: Job, outcome: Outcome, store: Store) -> int:
    if not outcome.meets_budget:
        best = shown_path(store.path("model.dca"))
        kept = f"; the best so far is in {best}" if outcome.best else ""
        errors.print(f"the budget was not met{kept}", soft_wrap=True)
    for line in outcome.unproven:
        errors.print(f"edge_test.require: {job.edge_test.require}: {line}", soft_wrap=True)
    good = outcome.is_accurate and outcome.meets_budget and not outcome.unproven
    return 0 if good else 1


def say_what_is_not_there(job: Job, path: str, nodes: Mapping[str, Evidence]) -> None:
    """A line for each target of which nothing can be proven.

    Raises:
        JobError: the job requires more evidence of one than can be had.
    """
    from sigdca.loop import check_targets

    for line in check_targets(job, path, nodes):
        errors.print(line, soft_wrap=True)


def lasting(place: str) -> str:
    """Where runs or data sets lie when they are named by a relative path.

    `ray job submit --working-dir` runs in a copy that Ray deletes when the job ends; what it makes
    goes to the user's home on the head node.
    """
    if "://" not in place and "working_dir_files" in Path.cwd().parts:
        return str(Path.home() / "sigdca" / place)
    return place


def set_aside(runs: Store, name: str) -> None:
    """Renames an earlier run of that name, and says so."""
    aside = runs.set_aside(name)
    if aside is not None:
        errors.print(f"an earlier run of that name is now {aside} (--resume would go on with it)")


def _write_report(store: Store) -> Report:
    from sigdca.report import build_report, collect_report, command_of, dump_report

    collected = collect_report(store, command_of(store, "run", "job.yaml"))
    store.write("report.json", dump_report(collected).encode())
    store.write("report.html", build_report(collected).encode())
    return collected


def _show(collected: Report, store: Store, as_json: bool) -> None:
    if as_json:
        print_json(collected.model_dump(mode="json", by_alias=True))
        return
    from sigdca.report import summary_table

    results.print(summary_table(collected, shown_path(store.path("report.html"))))


def shown_path(path: str) -> str:
    """A path as short as it can be said from here."""
    with contextlib.suppress(OSError, ValueError):  # no current folder, or not below it
        return str(Path(path).relative_to(Path.cwd()))
    return path


def write_study_report(store: Store) -> None:
    """Writes a study's page."""
    from sigdca.report import build_study_report

    store.write("report.html", build_study_report(store).encode())
