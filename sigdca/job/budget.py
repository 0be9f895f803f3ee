"""What the result must meet, held against what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sigdca.job.schema import Budget, Job, Train


@dataclass(frozen=True)
class BudgetLine:
    """One bound of the job.

    Attributes:
        name: the budget's word for it, with `@target` where it holds for a target; `accuracy` of
            the uncompressed network.
        bound: the limit, in the unit that the name says.
        value: what was measured; None where nothing was.
        met: whether the bound holds; None where nothing has told: of most, only a device can.
        note: why there is no verdict, or what was not reached.
    """

    name: str
    bound: float
    value: float | None
    met: bool | None
    note: str = ""


def check_budget(
    budget: Budget,
    *,
    accuracy_drop: float,
    error: float,
    container_bytes: int | None,
    targets: Iterable[str],
    at: Mapping[str, float],
) -> list[BudgetLine]:
    """Holds a container's figures against the budget.

    Args:
        budget: the job's budget.
        accuracy_drop: percentage points below the uncompressed model, on the same data.
        error: test error in percent.
        container_bytes: the whole file; None where there is none.
        targets: the job's.
        at: what legs measured, as `figures_at` names it; nothing where none did.

    Returns:
        A line for every bound that the budget names, in a fixed order.
    """
    figures: dict[str, float | None] = {
        "accuracy_drop": accuracy_drop,
        "error": error,
        "container_bytes": None if container_bytes is None else float(container_bytes),
    }
    lines = []
    for name, value in figures.items():
        bound = getattr(budget, name)
        if bound is None:
            continue
        # Both are ratios of whole numbers; a rounding error is not a missed bound.
        met = None if value is None else value <= bound + 1e-9
        note = "" if met is not None else "there is no container"
        lines.append(BudgetLine(name, float(bound), value, met, note))
    for name, bound in bounds_at(budget, targets).items():
        value = at.get(name)
        if value is None:
            lines.append(BudgetLine(name, bound, None, None, who_can_tell((name,))))
        else:
            met = value >= bound if name.startswith("fps@") else value <= bound
            lines.append(BudgetLine(name, bound, value, met))
    return lines


def bounds_at(budget: Budget, targets: Iterable[str]) -> dict[str, float]:
    """The bounds at targets, by figure@target: `fps` of all of the job's, and those of `at`."""
    bounds = {} if budget.fps is None else {f"fps@{target}": budget.fps for target in targets}
    for target, own in budget.at.items():
        bounds |= {f"{figure}@{target}": bound for figure, bound in own if bound is not None}
    return bounds


def figures_at(target: str, told: Mapping[str, Any]) -> dict[str, float]:
    """What a target does, by the names that objectives and bounds have for it.

    Args:
        target: the job's name for it.
        told: of a test leg: `latency_us`, `energy_mj`, `power_mw` and `memory_bytes`, each None or
            left out where it was not measured.
    """
    names = ("latency_us", "energy_mj", "power_mw", "memory_bytes")
    found = {name: told[name] for name in names if told.get(name) is not None}
    if "latency_us" in found:
        found["fps"] = 1e6 / found["latency_us"]
    return {f"{name}@{target}": float(value) for name, value in found.items()}


def budget_lines(
    job: Job, figures: Mapping[str, float], at: Mapping[str, float]
) -> list[BudgetLine]:
    """Holds a container's figures, and those of targets, against a job's budget.

    Args:
        job: the job.
        figures: the container's, by name.
        at: of targets, measured or predicted, as `figures_at` names them.

    Returns:
        See `check_budget`.
    """
    return check_budget(
        job.budget,
        accuracy_drop=figures["accuracy_drop"],
        error=figures["error"],
        container_bytes=int(figures["container_bytes"]),
        targets=job.targets,
        at=at,
    )


def check_accuracy(
    train: Train, accuracy: float, num_iterations: int | None = None
) -> BudgetLine | None:
    """Holds the uncompressed network's accuracy against `train.accuracy_at_least`.

    Args:
        train: of the job.
        accuracy: of the best TEST, in percent.
        num_iterations: how often TEST was reached; None: nobody counted.

    Returns:
        A line; None where the job asks for no accuracy.
    """
    bound = train.accuracy_at_least
    if bound is None:
        return None
    met = accuracy >= bound
    note = "" if met else f"train.accuracy_at_least {bound:g} was not reached"
    if note and num_iterations is not None:
        note += f" in {num_iterations} iteration{'' if num_iterations == 1 else 's'}"
    return BudgetLine("accuracy", bound, accuracy, met, note)


def check_uncompressed(job: Job, error: float) -> list[BudgetLine]:
    """Holds the network itself against the budget of a job that does not compress it."""
    return check_budget(
        job.budget,
        accuracy_drop=0.0,
        error=error,
        container_bytes=None,
        targets=job.targets,
        at={},
    )


def who_can_tell(names: Iterable[str]) -> str:
    """What must measure figures at targets that are not known yet."""
    is_memory = all(name.startswith("memory_bytes@") for name in names)
    return f"only the device{' or its emulation' if is_memory else ''} can tell"


def written(value: float) -> str:
    """A figure or a bound for a line of text: all digits before the point, six in all or more."""
    return f"{value:.0f}" if abs(value) >= 1e5 else f"{value:g}"


def is_met(lines: Iterable[BudgetLine]) -> bool:
    """Whether no bound that could be checked was missed."""
    return all(line.met is not False for line in lines)
