"""Levels by rate and distortion, with the arithmetic coder's own model (SPEC.md, "Levels").

A weight between two levels goes where the squared error and the price of the bits are least
together, given all that the coder has learnt from the weights before: Wiedemann et al.,
"DeepCABAC" (arXiv 1907.11900), equation 1, with our contexts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.arithmetic import PROBABILITIES, Feature
from sigdca.codec.levels import LevelModel, Limits
from sigdca.codec.values import MAX_GRID_LEVEL
from sigdca.errors import EngineError
from sigdca.native import coder as native


@dataclass(frozen=True)
class Assignment:
    """Levels, and the bits that an arithmetic stream of them takes.

    Attributes:
        levels: int32 [rows, columns].
        bits: of all.
    """

    levels: NDArray[np.int32]
    bits: float


def assign_levels(
    weights: NDArray[np.float32], stride: int, rate_lambda: float, *, fast: bool = True
) -> Assignment:
    """Chooses the level of each weight: the nearest, the one before that, or 0.

    Args:
        weights: float32 [rows, columns] in units of the step, finite, contiguous; no nearest
            level is larger than `MAX_GRID_LEVEL`.
        stride: columns from one line of a row's image to the next; 0: a row is no image.
        rate_lambda: what a bit costs, in squared steps; 0 gives the nearest levels.
        fast: by libsigdca-codec, if it is there.
    """
    nearest = np.rint(weights)
    limits = Limits(max(0, -int(nearest.min(initial=0))), max(0, int(nearest.max(initial=0))))
    assert max(limits) <= MAX_GRID_LEVEL
    if fast:
        try:
            return Assignment(*native.assign_levels(weights, stride, *limits, rate_lambda))
        except EngineError:
            pass  # not built: a source tree without a compiler
    return _assign(weights, nearest, stride, limits, rate_lambda)


class _Pricer:
    """What bits cost that are not written."""

    def __init__(self, learns: bool) -> None:
        self.bits, self._learns = 0.0, learns

    def bit(self, bit: int, *features: Feature) -> int:
        total = sum(table.logits[index] for table, index in features)
        probability = PROBABILITIES[min(max(total >> 8, -2048), 2047) + 2048]
        self.bits -= math.log2((probability if bit else 65536 - probability) / 65536)
        if self._learns:
            for table, index in features:
                table.teach(index, (bit << 16) - probability)
        return bit

    def plain(self, value: int, num_bits: int) -> int:
        self.bits += num_bits
        return value


def _assign(
    weights: NDArray[np.float32],
    nearest: NDArray[np.float32],
    stride: int,
    limits: Limits,
    rate_lambda: float,
) -> Assignment:
    model, total = LevelModel(weights.shape[1], stride, limits, ""), _Pricer(learns=True)
    levels = np.zeros(weights.shape, np.int32)
    for number, row in enumerate(weights.astype(np.float64).tolist()):
        full_row: list[int] = nearest[number].astype(np.int64).tolist()
        line = [0] * len(row)
        if model.code_start(total, any(full_row)):
            for column, (weight, full) in enumerate(zip(row, full_row, strict=True)):
                least, best = math.inf, 0
                for choice in _choices(full):
                    price = _Pricer(learns=False)
                    model.code_one(price, line, column, choice)
                    cost = (weight - choice) ** 2 + rate_lambda * price.bits
                    if cost < least:
                        least, best = cost, choice
                line[column] = model.code_one(total, line, column, best)
                model.settle(column, best)
        levels[number] = line
    return Assignment(levels, total.bits)


def _choices(full: int) -> tuple[int, ...]:
    if abs(full) < 2:
        return (0, full) if full else (0,)
    return 0, full, full - (1 if full > 0 else -1)
