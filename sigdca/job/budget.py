"""What the result must meet, held against what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from sigdca.job.schema import Budget, Train


@dataclass(frozen=True)
class BudgetLine:
    """One bound of the job.

    Attributes:
        name: the budget's word for it, with `@target` where it holds for a target; `accuracy` of
            the uncompressed network.
        bound: the limit, in the unit that the name says.
        value: what was measured; None where nothing was.
        met: whether the bound holds; None where only a device can tell.
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
    container_bytes: int,
    device_fps: dict[str, float | None],
) -> list[BudgetLine]:
    """Holds a container's figures against the budget.

    Args:
        budget: the job's budget.
        accuracy_drop: percentage points below the uncompressed model, on the same data.
        error: test error in percent.
        container_bytes: the whole file.
        device_fps: frames per second at batch 1 per target; None where no device measured it.

    Returns:
        A line for every bound that the budget names, in a fixed order.
    """
    measured = {
        "accuracy_drop": accuracy_drop,
        "error": error,
        "container_bytes": float(container_bytes),
    }
    lines = []
    for name, value in measured.items():
        bound = getattr(budget, name)
        if bound is not None:
            # Both are ratios of whole numbers; a rounding error is not a missed bound.
            lines.append(BudgetLine(name, float(bound), value, value <= bound + 1e-9))
    if budget.fps is not None:
        for target, fps in device_fps.items():
            met = None if fps is None else fps >= budget.fps
            note = "" if met is not None else "only the device can tell"
            lines.append(BudgetLine(f"fps@{target}", budget.fps, fps, met, note))
    return lines


def check_accuracy(train: Train, accuracy: float, num_iterations: int) -> BudgetLine | None:
    """Holds the uncompressed network's accuracy against `train.accuracy_at_least`.

    Args:
        train: of the job.
        accuracy: of the best TEST, in percent.
        num_iterations: how often TEST was reached.

    Returns:
        A line; None where the job asks for no accuracy.
    """
    bound = train.accuracy_at_least
    if bound is None:
        return None
    met = accuracy >= bound
    times = f"{num_iterations} iteration{'' if num_iterations == 1 else 's'}"
    note = "" if met else f"train.accuracy_at_least {bound:g} was not reached in {times}"
    return BudgetLine("accuracy", bound, accuracy, met, note)
