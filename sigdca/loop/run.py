"""The loop: train until accurate enough, compress until the budget is met, prove it on targets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sigdca.compression import layers_of
from sigdca.edge.legs import is_proven
from sigdca.errors import StorageError
from sigdca.job import Job, dump_job
from sigdca.job.budget import (
    BudgetLine,
    budget_lines,
    check_accuracy,
    check_uncompressed,
    figures_at,
    is_met,
)
from sigdca.loop import stages
from sigdca.loop.adjust import Adjustment, adjusted, next_adjustment
from sigdca.loop.edge import edge_tests, not_proven
from sigdca.loop.events import EventFiles
from sigdca.loop.executor import Executor, State
from sigdca.loop.network import graph_of, initial_model, model_with, pack, state_of, unpack
from sigdca.loop.points import PACKAGE, Progress, Run, Watchers, Work
from sigdca.models import dump_weights
from sigdca.storage import Record, Store, Walk

Until = Literal["test", "retest", "edge-test"]

WEIGHTS = "model.safetensors"  # in a run's folder: the trained, uncompressed network


@dataclass(frozen=True)
class Candidate:
    """One iteration's container and how it fares.

    Attributes:
        iteration: which one, from 1.
        container: sha256 of the container among the run's artifacts.
        figures: `error`, `accuracy`, `accuracy_drop`, `container_bytes`, `compression_ratio`.
        lines: the budget, bound by bound.
    """

    iteration: int
    container: str
    figures: dict[str, float]
    lines: list[BudgetLine]

    @property
    def meets_budget(self) -> bool:
        """Whether no bound that could be checked was missed."""
        return is_met(self.lines)

    def rank(self) -> tuple[float, float]:
        """Sorts candidates, best first: how far bounds are missed, then the bytes."""
        missed = sum(
            (line.value - line.bound) / max(abs(line.bound), 1.0)
            for line in self.lines
            if line.met is False and line.value is not None
        )
        return missed, self.figures["container_bytes"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        weights: sha256 of the uncompressed network's, among the run's artifacts.
        baseline: its test point.
        best: the best container; None if the run stopped before COMPRESS.
        edge: the test points of the targets.
        accuracy: `train.accuracy_at_least`, held against the baseline; None where it is not asked.
        unproven: one line for each target without the evidence that `edge_test.require` asks for.
        lines: the budget, bound by bound, of a job that does not compress.
    """

    weights: str
    baseline: Record
    best: Candidate | None
    edge: list[Record]
    accuracy: BudgetLine | None
    unproven: tuple[str, ...] = ()
    lines: Sequence[BudgetLine] = ()

    @property
    def is_accurate(self) -> bool:
        """Whether TRAIN reached `train.accuracy_at_least`, where the job asks for it."""
        return self.accuracy is None or self.accuracy.met is True

    @property
    def meets_budget(self) -> bool:
        """Whether no bound was missed, on no target either."""
        return is_met(self.lines if self.best is None else self.best.lines)


def run_job(
    job: Job,
    executor: Executor,
    store: Store,
    progress: Progress,
    until: Until = "edge-test",
    shared: Store | None = None,
    initial: State | None = None,
) -> Outcome:
    """Runs the loop from wherever the run's ledger stands.

    Args:
        job: the job; `sigdca.loop.check_job` has found nothing wrong with it.
        executor: who trains and tests.
        store: the run's own folder. Holds afterwards `job.yaml`, `ledger/`, `walk.json`,
            `artifacts/`, `tensorboard/`, `model.safetensors`, the uncompressed network, and
            `model.dca`, the best container so far (written anew as soon as there is a better one).
        progress: who watches.
        until: the last stage to run.
        shared: a folder that holds the artifacts instead, and what other runs have done: stages
            with the same inputs are taken from there.
        initial: weights to begin with instead of the job's, whose file need not be there then.

    Returns:
        The outcome; a missed budget is an outcome, not an error.

    Raises:
        SigdcaError: a fault on the way. What was done so far is on disk; run again to go on.
    """
    Walk(store).begin()  # first: the walk that is there is of the job that is there
    store.write("job.yaml", dump_job(job).encode())
    events = EventFiles(store)
    try:
        own = job if initial is None else job.model_copy(update={"weights": None})
        model = initial_model(own)
        watchers = Watchers((progress, events))
        graph, layers = graph_of(job, model), layers_of(model)
        run = Run(job, graph, store, executor, watchers, shared, layers)
        begin = state_of(model) if initial is None else initial
        outcome = _run(run, run.artifacts.put(pack(begin)), until)
        run.walk.end()
        return outcome
    finally:
        events.close()


def _run(run: Run, initial: str, until: Until) -> Outcome:
    job = run.job
    trained, baseline, accuracy = _train_until_accurate(run, initial)
    if run.shared is None:  # of many runs with one network, each would have a copy
        network = model_with(job, unpack(run.artifacts.get(trained)))
        _lay_out(run.store, WEIGHTS, dump_weights(network))
    if job.compress is None:
        lines = check_uncompressed(job, baseline.metrics["error"])
        return Outcome(trained, baseline, None, [], accuracy, lines=lines)
    if until == "test":
        return Outcome(trained, baseline, None, [], accuracy)
    best = _compress_until_budget(run, trained, baseline)
    if until == "retest":
        return Outcome(trained, baseline, best, [], accuracy)
    edge = edge_tests(run, best.iteration, job.targets, best.container)
    run.store.remove("checkpoints")
    best = measured(job, best, edge)
    return Outcome(trained, baseline, best, edge, accuracy, _unproven(job, edge))


def _unproven(job: Job, edge: Sequence[Record]) -> tuple[str, ...]:
    required = job.edge_test.require
    if required is None:
        return ()
    legs = [record.metrics for record in edge]
    return tuple(
        not_proven(leg["target"], leg["verdict"], leg["reason"])
        for leg in legs
        if not is_proven(leg["verdict"], leg["evidence"], required)
    )


def measured(job: Job, best: Candidate, edge: Sequence[Record]) -> Candidate:
    """The best container, held against the budget with what edge tests have measured of it."""
    return replace(best, lines=budget_lines(job, best.figures, leg_figures(edge)))


def leg_figures(edge: Iterable[Record]) -> dict[str, float]:
    """What edge tests measured, by figure@target; of those emulated the memory alone."""
    figures: dict[str, float] = {}
    for record in edge:
        figures |= figures_at(record.label, record.metrics)
    return figures


def _train_until_accurate(run: Run, state: str) -> tuple[str, Record, BudgetLine | None]:
    """TRAIN and TEST until accurate enough.

    Returns:
        The best weights, their test point, and whether they are as accurate as is asked.
    """
    config = run.job.train
    best: tuple[str, Record] | None = None
    for iteration in range(1, config.iterations + 1):
        if config.epochs > 0:
            trained = stages.train(run, iteration, state).artifact
            assert trained is not None
            state = trained
        test = stages.test(run, iteration, state)
        if best is None or test.metrics["accuracy"] > best[1].metrics["accuracy"]:
            best = state, test
        line = check_accuracy(config, best[1].metrics["accuracy"], iteration)
        if line is None or line.met or config.epochs == 0 or _out_of_time(run):
            break
    assert best is not None
    if line is not None and not line.met:
        run.progress.note(f"accuracy {line.value:g} %, {line.note}")
    return *best, line


def _compress_until_budget(run: Run, trained: str, baseline: Record) -> Candidate:
    """COMPRESS, RETRAIN, RETEST until the budget is met; keeps the best all along."""
    compress = run.job.compress
    assert compress is not None
    adjustment = Adjustment()
    best: Candidate | None = None
    for iteration in range(1, compress.iterations + 1):
        candidate = _compress_once(run, iteration, adjustment, trained, baseline)
        if best is None or candidate.rank() < best.rank():
            best = candidate
            package(run, best)
        if candidate.meets_budget or _out_of_time(run):
            break
        adjustment = next_adjustment(adjustment, run.job.budget, candidate.figures)
    assert best is not None
    return best


def _compress_once(
    run: Run, iteration: int, adjustment: Adjustment, state: str, baseline: Record
) -> Candidate:
    assert run.job.compress is not None
    *passes, last = run.job.compress.recipe
    for number, step in enumerate(passes):
        changed = adjusted(step, adjustment)
        state = _artifact(stages.compress(run, iteration, changed, state))
        if getattr(changed.config, "epochs", 0):
            before = passes[:number]
            state = _artifact(stages.retrain(run, iteration, changed, state, before))
        stages.retest(run, iteration, changed, state)
    encoded = stages.encode(run, iteration, last, state)
    container = _artifact(encoded)
    retest = stages.retest_container(run, iteration, container)
    # Both tests are of the same images, so the difference of the counts is exact.
    num_lost = baseline.metrics["num_correct"] - retest.metrics["num_correct"]
    figures = {
        "accuracy": retest.metrics["accuracy"],
        "error": retest.metrics["error"],
        "accuracy_drop": 100 * num_lost / retest.metrics["num_samples"],
        "container_bytes": encoded.metrics["container_bytes"],
        "compression_ratio": encoded.metrics["compression_ratio"],
    }
    return Candidate(iteration, container, figures, budget_lines(run.job, figures, {}))


def package(run: Run, best: Candidate) -> None:
    """PACKAGE: the best container so far becomes the run's `model.dca`."""
    inputs = {"container": best.container, "budget": run.job.budget.model_dump()}

    def work(_key: str) -> Work:
        container = run.artifacts.get(best.container)
        run.store.write("model.dca", container)
        return Work(dict(best.figures) | {"meets_budget": best.meets_budget}, container)

    record = run.stage(PACKAGE, "", best.iteration, inputs, work)
    _lay_out(run.store, "model.dca", run.artifacts.get(_artifact(record)))


def _lay_out(store: Store, name: str, content: bytes) -> None:
    """Writes a file of the run, unless it is as it should be."""
    if not store.exists(name) or store.read(name) != content:
        store.write(name, content)


def _out_of_time(run: Run) -> bool:
    limit = run.job.budget.time_s
    return limit is not None and time.monotonic() - run.started > limit


def _artifact(record: Record) -> str:
    if record.artifact is None:
        raise StorageError(f"ledger: record {record.number} ({record.stage}) names no artifact")
    return record.artifact
