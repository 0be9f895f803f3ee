"""The verb `retest`: a run's container on the job's targets again, as a gate."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from sigdca.cli.jobs import (
    Address,
    JobFile,
    Settings,
    SmokeTest,
    lasting,
    say_what_is_not_there,
)
from sigdca.cli.output import StageProgress, errors, print_json, results
from sigdca.job import load_job
from sigdca.storage import open_store

Json = Annotated[bool, typer.Option("--json", help="print the record as one JSON object")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(retest)


def retest(
    job: JobFile,
    settings: Settings = None,
    smoke_test: SmokeTest = False,
    address: Address = None,
    as_json: Json = False,
) -> int:
    """Test the container that a job's run, or search, has made, again.

    On the servers and on all of the job's targets, now, whatever was tested before. Ends with 1 if
    a bound of the budget is missed or a target proved nothing; the record says which and why.

    Example: sigdca retest jobs/lenet-5-mnist.yaml --set targets=[atom-x5-e3940]
    """
    loaded = load_job(job, settings or ())
    if smoke_test:
        loaded = loaded.smoke_test()
    from sigdca.distributed import connect
    from sigdca.loop import retest_run

    store = open_store(lasting(loaded.storage)).child(loaded.name)
    with (
        contextlib.redirect_stdout(sys.stderr),
        connect(address, loaded.train.workers) as executor,
    ):
        nodes = executor.nodes_for(loaded.targets, loaded.data.site)
        say_what_is_not_there(loaded, job, nodes)
        told = retest_run(loaded, executor, store, StageProgress())
    if as_json:
        print_json(asdict(told))
    else:
        table = Table("where", "error", "verdict")
        table.add_row("servers", f"{told.figures['error']:.2f} %", "")
        for leg in told.legs:
            error = "" if leg.error is None else f"{leg.error:.2f} %"
            evidence = f" ({leg.evidence})" if leg.evidence else ""
            table.add_row(leg.target, error, f"{leg.verdict}{evidence}")
        results.print(table)
    for failure in told.failures:
        errors.print(failure, soft_wrap=True)
    errors.print(f"record: {store.path(told.name)}", soft_wrap=True)
    return 1 if told.failures else 0
