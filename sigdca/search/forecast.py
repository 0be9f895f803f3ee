"""What trials will come to at full fidelity, by those that have come to it.

A low fidelity alone misleads: after a tenth of the epochs a harsh price on bits has hardly begun
to cost accuracy, and a gradual pruning has not been repaired yet. By what was drawn, and by what
came of it at the low fidelity, a ridge regression (Hoerl and Kennard, Technometrics 12, 1970) over
the trials that are known at both tells the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.search.space import WITH, WITHOUT, Point, Space, labels, parameters

LEAST = 4  # trials known at both fidelities, before a forecast is worth anything
RIDGE = 1.0  # in trials, where each feature has a standard deviation of 1
FARTHEST = 3.0  # standard deviations that a feature counts for, however far away it is

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Known:
    """A trial that is known at a low fidelity and at the full one.

    Attributes:
        features: by `features_of`.
        low: its figures there.
        full: the same figures at full fidelity.
    """

    features: Mapping[str, float]
    low: Figures
    full: Figures


def features_of(space: Space, point: Point, low: Figures) -> dict[str, float]:
    """What a forecast goes by: what was drawn, and what came of it.

    Args:
        space: that the point is of.
        point: of the trial; what does not exist in it is no feature.
        low: its figures at the low fidelity.
    """
    found: dict[str, float] = {}
    recipe = ""
    for name, _, dimension in parameters(space):
        if name not in point:
            continue
        value, choice = point[name], dimension.choice
        if dimension.optional is not None or choice is not None:
            known = [WITH, WITHOUT] if choice is None else labels(list(choice))
            found |= {f"{name}={label}": float(label == value) for label in known}
            recipe += "" if isinstance(choice, list) else f" {name}={value}"
        else:
            found[name] = math.log(value) if dimension.loguniform is not None else float(value)
    for name, figure in low.items():
        found[f"low {name}"] = figure
        found[f"low {name}{recipe}"] = figure  # each recipe changes a figure in its own way
    return found


class Forecast:
    """Tells figures at full fidelity from features and figures at a low one."""

    def __init__(self, known: Sequence[Known]) -> None:
        """Learns how figures change, each by its ratio where it is always positive.

        Args:
            known: at least one trial; all have the same figures.
        """
        names = dict.fromkeys(name for one in known for name in one.features)
        self._scales = {name: _scale([one.features for one in known], name) for name in names}
        self._is_ratio = {
            name: all(one.low[name] > 0 and one.full[name] > 0 for one in known)
            for name in known[0].full
        }
        changes = np.array([self._changes(one) for one in known])
        self._usual, width = changes.mean(axis=0), changes.std(axis=0)
        self._least, self._most = changes.min(axis=0) - width, changes.max(axis=0) + width
        rows = np.array([self._row(one.features) for one in known])
        gram = rows.T @ rows + RIDGE * np.eye(len(names))
        self._weights = np.linalg.solve(gram, rows.T @ (changes - self._usual))

    def figures(self, features: Mapping[str, float], low: Figures) -> dict[str, float]:
        """What a trial will come to.

        Args:
            features: by `features_of`.
            low: its figures at the low fidelity.
        """
        changes = self._usual + self._row(features) @ self._weights
        changes = np.clip(changes, self._least, self._most)  # hardly beyond what was ever seen
        return {
            name: float(low[name] * math.exp(change) if is_ratio else low[name] + change)
            for (name, is_ratio), change in zip(self._is_ratio.items(), changes, strict=True)
        }

    def _changes(self, one: Known) -> list[float]:
        return [
            math.log(one.full[name] / one.low[name])
            if is_ratio
            else one.full[name] - one.low[name]
            for name, is_ratio in self._is_ratio.items()
        ]

    def _row(self, features: Mapping[str, float]) -> NDArray[np.float64]:
        """Each feature in standard deviations from its mean; 0 for one that it lacks."""
        row = np.zeros(len(self._scales))
        for place, (name, (mean, deviation)) in enumerate(self._scales.items()):
            if name in features and deviation > 0:
                row[place] = (features[name] - mean) / deviation
        return np.clip(row, -FARTHEST, FARTHEST)


def _scale(features: Sequence[Mapping[str, float]], name: str) -> tuple[float, float]:
    values = [one[name] for one in features if name in one]
    mean, deviation = float(np.mean(values)), float(np.std(values))
    # Of equal numbers the mean may be another by a rounding, and so all else far away from it.
    return mean, deviation if deviation > 1e-9 * max(1.0, abs(mean)) else 0.0
