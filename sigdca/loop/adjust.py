"""What the next compress-retrain-retest iteration does differently when the budget was missed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sigdca.job import Budget, Encode, Pass, Prune, Quantize, Rdoq

# A density changes by at most this factor per iteration: bytes are nearly linear in it, error
# is not.
MAX_STEP = 1.6


@dataclass(frozen=True)
class Adjustment:
    """How an iteration departs from the job's recipe.

    Attributes:
        density: factor on the density (1 - sparsity) of every pruned layer; its inverse is one on
            every `rate_lambda`.
        epochs: factor on the epochs of every RETRAIN.
    """

    density: float = 1.0
    epochs: float = 1.0


def next_adjustment(
    current: Adjustment, budget: Budget, figures: Mapping[str, float]
) -> Adjustment:
    """Chooses the next iteration's adjustment.

    Too large but accurate: prune more, by what is missing. Small enough but not accurate: prune
    less, as far as the bytes allow. Neither: retrain for longer.

    Args:
        current: the adjustment that gave `figures`.
        budget: the job's budget.
        figures: `accuracy_drop`, `error` and `container_bytes` of the iteration.
    """
    size_limit = budget.container_bytes
    room = size_limit / figures["container_bytes"] if size_limit is not None else math.inf
    accurate = _within(budget.accuracy_drop, figures["accuracy_drop"]) and _within(
        budget.error, figures["error"]
    )
    if accurate and room < 1:
        return replace(current, density=current.density * max(0.98 * room, 1 / MAX_STEP))
    if not accurate and room > 1.05:
        return replace(current, density=current.density * min(0.98 * room, 1.25))
    return replace(current, epochs=current.epochs * 2)


def adjusted(step: Pass, adjustment: Adjustment) -> Pass:
    """The pass as this iteration runs it."""
    config = step.config
    if isinstance(config, Encode):
        return step
    changes: dict[str, object] = {"epochs": math.ceil(config.epochs * adjustment.epochs)}
    if isinstance(config, Prune):
        sparsity = config.sparsity
        changes["sparsity"] = (
            {layer: _denser(value, adjustment.density) for layer, value in sparsity.items()}
            if isinstance(sparsity, dict)
            else _denser(sparsity, adjustment.density)
        )
    if isinstance(config, Quantize | Rdoq):
        changes["rate_lambda"] = config.rate_lambda / adjustment.density
    return Pass.model_validate({step.name: config.model_dump() | changes})


def _denser(sparsity: float, factor: float) -> float:
    if factor == 1.0:
        return sparsity
    return min(0.9999, max(0.0, 1 - (1 - sparsity) * factor))


def _within(bound: float | None, value: float) -> bool:
    return bound is None or value <= bound + 1e-9
