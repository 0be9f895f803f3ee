"""The verb `search`: the best compression that a budget can buy."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sigdca.cli.dashboards import dashboards
from sigdca.cli.jobs import (
    LEAST_ROOM_BYTES,
    Address,
    JobFile,
    Json,
    Resume,
    Settings,
    SmokeTest,
    elsewhere,
    lasting,
    say_what_is_not_there,
    set_aside,
    shown_path,
    write_study_report,
)
from sigdca.cli.output import errors, print_json, results
from sigdca.errors import JobError, SigdcaError
from sigdca.job import dump_job, load_job
from sigdca.job.budget import who_can_tell
from sigdca.storage import Store, open_store

if TYPE_CHECKING:
    from sigdca.search import Proof, Study, StudyRecord, TrialRecord

SHOWN_TRIALS = 8  # of the live table


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(search)


def search(
    job: JobFile,
    settings: Settings = None,
    resume: Resume = False,
    smoke_test: SmokeTest = False,
    address: Address = None,
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", help="optuna-dashboard, TensorBoard, Ray's pages"),
    ] = False,
    as_json: Json = False,
) -> int:
    """Search for the best recipe within a budget of time, trials or cost.

    The first trial is the job's own recipe. Ctrl-C ends with the best so far; --resume goes on. At
    the end the chosen container is tested on all of the job's targets, as `run` does.

    Example: sigdca search jobs/lenet-300-100-mnist-search.yaml --set search.time_budget_s=600
    """
    loaded = load_job(job, settings or ())
    if loaded.search is None:
        raise JobError(f"{job}: search: is missing; see docs/search.md")
    if smoke_test:
        loaded = loaded.smoke_test()
    from sigdca.loop import check_job
    from sigdca.search import Study, StudyFolder

    check_job(loaded, job)
    if not elsewhere(address):
        say_what_is_not_there(loaded, job, {})  # a cluster started here has no boards
    runs = open_store(lasting(loaded.storage))
    runs.check_room(LEAST_ROOM_BYTES)
    store = runs.child(loaded.name)
    with runs.lock(loaded.name):
        if not resume:
            set_aside(runs, loaded.name)
        study = Study(loaded, StudyFolder(store))
        store.write("job.yaml", dump_job(loaded).encode())
        try:
            outcome = _run(study, job, store, address, dashboard)
        finally:
            with contextlib.suppress(SigdcaError):  # the fault itself is what to hear of
                write_study_report(store)
    return _show(study, outcome, store, as_json)


def _run(
    study: Study, path: str, store: Store, address: str | None, dashboard: bool
) -> StudyRecord:
    from sigdca import distributed

    progress = SearchProgress()
    study.watchers.append(progress.trial)
    with contextlib.ExitStack() as stack:
        # Ray tells what its nodes say on standard output, which is for results alone.
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        executor = stack.enter_context(distributed.connect(address, 1, dashboard))
        errors.print(f"search {study.job.name} on the cluster at {executor.cluster.address}")
        if elsewhere(address):
            nodes = executor.nodes_for(study.job.targets, study.job.data.site)
            say_what_is_not_there(study.job, path, nodes)
        if dashboard:
            pages = stack.enter_context(dashboards(store, distributed.JOURNAL))
            if executor.cluster.dashboard:
                pages |= {"ray": f"http://{executor.cluster.dashboard}"}
            for name, page in pages.items():
                errors.print(f"  {name}: {page}", soft_wrap=True)
        stack.enter_context(progress)
        tell = partial(errors.print, soft_wrap=True)
        return distributed.run_search(executor, study, store, tell)


def _show(study: Study, outcome: StudyRecord, store: Store, as_json: bool) -> int:
    from sigdca.loop import unproven

    best, required = study.chosen, study.job.edge_test.require
    if best is None:
        reason = next((trial.reason for trial in study.trials() if trial.reason), outcome.why)
        raise SigdcaError(f"search {outcome.name}: no trial came to its end: {reason}")
    if as_json:
        front = [_row(study, trial) for trial in study.front()]
        summary = outcome.model_dump(mode="json", exclude={"job"})
        path = store.path("model.dca")
        print_json(summary | {"best": _row(study, best) | {"path": path}, "front": front})
    else:
        results.print(front_table(study, outcome))
        if (bound := outcome.error_bound) is not None:
            line = f"the budget bounds no error: at most trial 1's, {bound:.2f} %, is chosen"
            results.print(line, soft_wrap=True)
        if outcome.unverified:
            line = f"unverified: {', '.join(outcome.unverified)}: met by prediction alone"
            results.print(f"{line}; {who_can_tell(outcome.unverified)}", soft_wrap=True)
        if proofs := _proofs(best):
            told = "; ".join(f"{target}: {proof.words}" for target, proof in proofs.items())
            results.print(f"trial {best.number} on targets: {told}", soft_wrap=True)
        results.print(f"report: {shown_path(store.path('report.html'))}", soft_wrap=True)
    if not outcome.meets_budget:
        place = shown_path(store.path("model.dca"))
        line = f"the budget was not met ({'; '.join(outcome.unmet)}); the best so far"
        errors.print(f"{line}, trial {best.number}, is in {place}", soft_wrap=True)
    lines = unproven(study)
    for line in lines:
        errors.print(f"edge_test.require: {required}: {line}", soft_wrap=True)
    return 0 if outcome.meets_budget and not lines else 1


def _proofs(trial: TrialRecord) -> dict[str, Proof]:
    return trial.full.proofs if trial.full is not None else {}


def _row(study: Study, trial: TrialRecord) -> dict[str, object]:
    from sigdca.search import unverified

    full = trial.full
    assert full is not None
    return {
        "trial": trial.number,
        "origin": trial.origin,
        "figures": full.figures,
        "predicted": list(full.predicted),
        "missed": full.missed,
        "unverified": list(unverified(study.job, full)),
        "container": full.container,
        "targets": {target: proof.model_dump() for target, proof in full.proofs.items()},
        "job": f"{full.run}/job.yaml",
        "values": trial.values,
    }


def front_table(study: Study, outcome: StudyRecord) -> Table:
    """The Pareto front and the chosen trial, which is marked."""
    from sigdca.search import mark, unverified

    names = list(dict.fromkeys(["error", "container_bytes", *study.search.objectives]))
    counts = ", ".join(f"{count} {status}" for status, count in outcome.num_trials.items())
    title = f"{outcome.name}: {outcome.status}; trials: {counts}; {outcome.why}"
    table = Table("", "trial", *names, "budget", title=Text(title), title_justify="left")
    for trial in study.shown():
        full = trial.full
        assert full is not None
        figures = (figure(name, full.figures.get(name)) + mark(full, name) for name in names)
        met = Text("met", style="green")
        if study.unmet(full):
            met = Text("missed", style="red")
        elif unverified(study.job, full):
            met = Text("unverified", style="yellow")
        arrow = "->" if trial.number == outcome.chosen else ""
        table.add_row(arrow, str(trial.number), *figures, met)
    return table


def figure(name: str, value: float | None) -> str:
    """A figure as people read it."""
    if value is None:
        return ""
    if name.partition("@")[0].endswith("_bytes"):
        return f"{value:,.0f}"
    if name in ("error", "accuracy"):
        return f"{value:.2f} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class SearchProgress:
    """Shows trials as they pass: a live table on a terminal, a line each elsewhere."""

    def __init__(self) -> None:
        """Draws only where someone can see it."""
        self._live: Live | None = None
        self._told: set[tuple[int, str]] = set()  # a board may refuse what was done
        self._warned = False

    def __enter__(self) -> SearchProgress:
        if errors.is_terminal:
            self._live = Live(console=errors, transient=True, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def trial(self, study: Study, record: TrialRecord) -> None:
        """A trial was drawn, came to a fidelity, or ended."""
        if study.inaccuracy and not self._warned:
            self._warned = True
            line = f"{study.inaccuracy}; the search goes on from there, and will end with 1"
            errors.print(line, soft_wrap=True)
        if self._live is not None:
            self._live.update(_live_table(study))
        elif record.ended is not None and (record.number, record.status) not in self._told:
            self._told.add((record.number, record.status))
            errors.print(f"trial {record.number}: {trial_line(record)}", soft_wrap=True)


def trial_line(record: TrialRecord) -> str:
    """A trial in one line."""
    last = record.last
    if last is None or record.status == "failed":
        return f"{record.status}: {record.reason}"
    figures = last.figures
    line = (
        f"{record.status}, {figures['container_bytes']:,.0f} bytes, error {figures['error']:.2f} %"
    )
    if last.share < 1:
        line += f" with {100 * last.share:.0f} % of the epochs"
    return f"{line} ({record.duration_s:.1f} s{', ' + record.site if record.site else ''})"


def _live_table(study: Study) -> Table:
    best = study.chosen
    title = f"{study.spending.elapsed_s:,.0f} s, {study.newest} trials"
    if cost := study.spending.cost:
        title += f", cost {cost:.2f}"
    if best is not None:
        title += f"; best: trial {best.number}, {trial_line(best)}"
    table = Table("trial", "from", "state", "where", title=Text(title), title_justify="left")
    for record in study.trials()[-SHOWN_TRIALS:]:
        state = "at work" if record.status == "running" else ""
        row = (str(record.number), record.origin, state or trial_line(record), record.site)
        table.add_row(*row)
    return table
