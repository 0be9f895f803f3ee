"""Least squares whose coefficients are none of them negative: a cost never makes a run shorter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDS = 4  # of weighing outliers down
HUBER = 2.5  # in median errors: what lies beyond counts by its distance, not by the square of it


def fit_relative(counts: Array, times: Array) -> Array:
    """The coefficients whose products with the counts are nearest to the times, relatively.

    Args:
        counts: [n, k], none negative.
        times: [n], all positive.

    Returns:
        [k], none negative.
    """
    relative = counts / times[:, None]
    scale = relative.max(axis=0)
    scale[scale == 0] = 1
    relative = relative / scale
    weights = np.ones(len(times))
    for _ in range(ROUNDS):
        found = non_negative(relative * weights[:, None], weights)
        errors = np.abs(relative @ found - 1)
        limit = HUBER * max(float(np.median(errors)), 1e-9)
        weights = np.sqrt(np.minimum(1, limit / np.maximum(errors, 1e-12)))
    result: Array = found / scale
    return result


def non_negative(matrix: Array, wanted: Array) -> Array:
    """The x >= 0 that makes |matrix x - wanted| least: Lawson and Hanson (1974), chapter 23."""
    num = matrix.shape[1]
    x, active = np.zeros(num), np.zeros(num, bool)
    gram, target = matrix.T @ matrix, matrix.T @ wanted
    tolerance = 1e-10 * max(float(np.abs(target).max(initial=0)), 1e-300)
    for _ in range(3 * num):
        slope = np.where(active, -np.inf, target - gram @ x)
        if not (slope > tolerance).any():
            break
        active[int(slope.argmax())] = True
        x = _step(gram, target, x, active)
    return x


def _step(gram: Array, target: Array, x: Array, active: NDArray[np.bool_]) -> Array:
    """Solves for the active ones; what would become negative leaves them. Changes `active`."""
    while True:
        places = np.flatnonzero(active)
        solved = np.zeros_like(x)
        solved[places] = np.linalg.lstsq(gram[np.ix_(places, places)], target[places])[0]
        negative = places[solved[places] <= 0]
        if len(negative) == 0:
            return solved
        share = (x[negative] / np.maximum(x[negative] - solved[negative], 1e-300)).min()
        x = x + share * (solved - x)
        active[places[x[places] <= 1e-15 * max(1.0, float(x.max()))]] = False
        active[negative[x[negative] <= 0]] = False
        x = np.where(active, x, 0)
