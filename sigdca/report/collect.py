"""From a run's folder (ledger, job, container) to its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sigdca.codec import inspect_container
from sigdca.edge.legs import is_proven
from sigdca.job import Job, parse_job
from sigdca.job.budget import (
    BudgetLine,
    check_accuracy,
    check_budget,
    check_uncompressed,
    figures_at,
    is_met,
)
from sigdca.report.schema import Report, Status, TargetResult, validate_report
from sigdca.storage import Ledger, Record, Store, Walk, latest_with


def collect_report(store: Store, command: str) -> Report:
    """Reads what a run has left so far: of the ledger, what its job has come by.

    Args:
        store: the run's folder.
        command: the command that reproduces it.

    Returns:
        The report; of a run that is not at its end, as far as it came.

    Raises:
        StorageError: there is no run there, or its files are damaged.
    """
    text = store.read("job.yaml").decode()
    job = parse_job(text, store.path("job.yaml"))
    walk = Walk(store)
    points = walk.of(Ledger(store))
    tests = [point for point in points if point.stage == "test"]
    baseline = max(tests, key=lambda point: float(point.metrics["accuracy"]), default=None)
    container = store.read("model.dca") if store.exists("model.dca") else b""
    package = latest_with(points, "package", container)
    edge = _latest_by_target(job, points, package)
    budget = _budget(job, baseline, len(tests), package, edge)
    info = None if package is None else inspect_container(container)
    ended = walk.ended and (baseline if job.compress is None else package) is not None
    return validate_report(
        {
            "schema": 1,
            "name": job.name,
            "model": job.model,
            "data": job.data.source,
            "seed": job.seed,
            "status": _status(job, edge, budget) if ended else "incomplete",
            "baseline": _baseline(baseline),
            "best": _best(package, store),
            "budget": [asdict(line) for line in budget],
            "test_points": [_point(record) for record in points],
            "layers": [] if info is None else [_layer(layer) for layer in info.layers],
            "targets": [_target(record) for record in edge.values()],
            "versions": points[-1].versions if points else {},
            "machine": points[-1].machine if points else {},
            "command": command,
            "job": text,
        }
    )


def _latest_by_target(
    job: Job, points: Sequence[Record], package: Record | None
) -> dict[str, Record]:
    """The last edge test of the packaged container on each of the job's targets."""
    if package is None:
        return {}
    tests = {
        point.label: point
        for point in points
        if point.stage == "edge-test" and point.metrics["container"] == package.artifact
    }
    return {target: tests[target] for target in job.targets if target in tests}


def _budget(
    job: Job,
    baseline: Record | None,
    num_tests: int,
    package: Record | None,
    edge: dict[str, Record],
) -> list[BudgetLine]:
    lines = []
    if baseline is not None:
        accurate = check_accuracy(job.train, baseline.metrics["accuracy"], num_tests)
        lines += [] if accurate is None else [accurate]
        if job.compress is None:
            lines += check_uncompressed(job, baseline.metrics["error"])
    if package is not None:
        lines += _container_lines(job, package, edge)
    return lines


def _container_lines(job: Job, package: Record, edge: dict[str, Record]) -> list[BudgetLine]:
    at: dict[str, float] = {}
    for target, record in edge.items():
        at |= figures_at(target, record.metrics)
    return check_budget(
        job.budget,
        accuracy_drop=package.metrics["accuracy_drop"],
        error=package.metrics["error"],
        container_bytes=package.metrics["container_bytes"],
        targets=job.targets,
        at=at,
    )


def _status(job: Job, edge: dict[str, Record], budget: Sequence[BudgetLine]) -> Status:
    """How a run ended that has come to its end."""
    if job.compress is not None and any(target not in edge for target in job.targets):
        return "incomplete"  # it was not asked to go so far
    if not is_met(budget):
        return "budget-not-met"
    required = job.edge_test.require
    proven = (
        is_proven(point.metrics["verdict"], point.metrics.get("evidence"), required)
        for point in edge.values()
    )
    return "done" if required is None or all(proven) else "not-proven"


def command_of(store: Store, verb: str, job: str) -> str:
    """What a person types to do it again.

    Args:
        store: where the job lies.
        verb: of the `sigdca` command.
        job: the job's place there.
    """
    if store.is_local:
        return f"sigdca {verb} {store.path(job)}"
    return f"sigdca {verb} job.yaml  # the storage's {store.path(job)}, fetched"


def _baseline(test: Record | None) -> dict[str, Any] | None:
    if test is None:
        return None
    names = ("accuracy", "error", "num_samples", "dense_bytes", "num_parameters")
    return {name: test.metrics[name] for name in names}


def _best(package: Record | None, store: Store) -> dict[str, Any] | None:
    if package is None:
        return None
    names = ("accuracy", "error", "accuracy_drop", "container_bytes", "compression_ratio")
    figures = {name: package.metrics[name] for name in names}
    place = {"sha256": package.artifact, "path": store.path("model.dca")}
    return figures | place | {"iteration": package.iteration}


def _point(record: Record) -> dict[str, Any]:
    shown = {"number", "stage", "iteration", "label", "status", "duration_s", "artifact", "epochs"}
    metrics = {
        name: value
        for name, value in record.metrics.items()
        if isinstance(value, bool | int | float | str)
    }
    return record.model_dump(include=shown) | {"metrics": metrics}


def _layer(layer: Any) -> dict[str, Any]:
    fields = asdict(layer)
    return fields | {"parts": dict(fields["parts"])}


def _target(record: Record) -> dict[str, Any]:
    return {name: record.metrics.get(name) for name in TargetResult.model_fields}
