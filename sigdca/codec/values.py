"""Which values a tensor takes, and where: what is known of it before a bit is written."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigdca.errors import EngineError
from sigdca.native.coder import MAX_VALUES, ValueFinder

MAX_CENTROIDS = MAX_VALUES  # besides 0: an index has 16 bits
MAX_GRID_LEVEL = MAX_CENTROIDS // 2
CHUNK_WEIGHTS = 1 << 22  # rows are looked at together up to so many weights
_MAX_FIRST = 64  # the largest level that a grid's smallest value is tried as

Floats = NDArray[np.float32]
Levels = NDArray[np.int32]
Places = NDArray[np.uint32]
_Scanned = tuple[Floats, list[int], list[Places], list[NDArray[np.uint16]]]


class Form(IntEnum):
    """How a tensor gives its values; the numbers are the stream's."""

    ZEROS = 0
    RAW = 1
    GRID = 2
    CODEBOOK = 3


class Piece(NamedTuple):
    """Some rows of a tensor, those of a chunk.

    Attributes:
        size: their number of weights.
        places: uint32, ascending, of those that are not zero.
        levels: int32, of each of these.
    """

    size: int
    places: Places
    levels: Levels


class Shared(NamedTuple):
    """The values of a tensor.

    Attributes:
        form: the one that takes least, by an estimate.
        values: float32 ascending, distinct, not 0; none if the tensor is raw.
        levels: int32, of each of them.
        step: of the grid; 0: none.
        pieces: the tensor chunk by chunk; none if it is raw.
    """

    form: Form
    values: Floats
    levels: Levels
    step: float
    pieces: tuple[Piece, ...]

    def all_levels(self) -> Levels:
        """int32 [n], the level of every weight."""
        levels = np.zeros(sum(piece.size for piece in self.pieces), np.int32)
        start = 0
        for piece in self.pieces:
            levels[start : start + piece.size][piece.places] = piece.levels
            start += piece.size
        return levels


def chunk_size(rows: int, size: int) -> int:
    """The weights of a chunk: whole rows, as many as `CHUNK_WEIGHTS` holds, but one at least."""
    columns = size // rows
    return columns * max(1, CHUNK_WEIGHTS // max(1, columns))


def share(weights: Floats, rows: int, *, fast: bool = True) -> Shared:
    """Finds the values of a tensor.

    Args:
        weights: flat, finite; -0.0 is 0.
        rows: how many it has.
        fast: by libsigdca-codec, if it is there.
    """
    chunk = chunk_size(rows, len(weights))
    try:
        found = _find(weights, chunk) if fast else _scan(weights, chunk)
    except EngineError:  # not built: a source tree without a compiler
        found = _scan(weights, chunk)
    if found is None:
        none = np.zeros(0, np.float32)
        return Shared(Form.RAW, none, np.zeros(0, np.int32), 0.0, ())
    values, sizes, places, ranks = found
    form, levels, step = _form_of(values, len(weights))
    if form is Form.RAW:
        return Shared(form, np.zeros(0, np.float32), np.zeros(0, np.int32), 0.0, ())
    pieces = (
        Piece(size, where, levels[rank])
        for size, where, rank in zip(sizes, places, ranks, strict=True)
    )
    return Shared(form, values, levels, step, tuple(pieces))


def _form_of(values: Floats, num_weights: int) -> tuple[Form, Levels, float]:
    num_negative = int(np.count_nonzero(values < 0))
    ranks = np.arange(len(values), dtype=np.int32) - num_negative
    levels = np.where(ranks < 0, ranks, ranks + 1).astype(np.int32)
    if not len(values):
        return Form.ZEROS, levels, 0.0
    step, on_grid = _find_grid(values)
    if step:
        return Form.GRID, on_grid, step
    bits = 32 * len(values) + math.log2(len(values) + 1) * num_weights
    return (Form.CODEBOOK if bits < 32 * num_weights else Form.RAW), levels, 0.0


def _find(weights: Floats, chunk: int) -> _Scanned | None:
    """What `_scan` gives, by the library."""
    finder = ValueFinder()
    sizes, places, ids = [], [], []
    for start in range(0, len(weights), max(1, chunk)):
        part = np.ascontiguousarray(weights[start : start + chunk])
        found = finder.find(part)
        if found is None:
            return None
        sizes.append(len(part))
        places.append(found[0])
        ids.append(found[1])
    order = np.argsort(finder.values)
    rank = np.empty(len(order), np.uint16)
    rank[order] = np.arange(len(order), dtype=np.uint16)
    return finder.values[order], sizes, places, [rank[part] for part in ids]


def _scan(weights: Floats, chunk: int) -> _Scanned | None:
    """The distinct values that are not 0; of each chunk its size, places, and ranks among them.

    None where the values are too many for a codebook.
    """
    known = np.zeros(0, np.float32)
    sizes, places, ranks, knew = [], [], [], []
    for start in range(0, len(weights), max(1, chunk)):
        part = weights[start : start + chunk]
        where = np.flatnonzero(part)
        used = part[where]
        rank = np.searchsorted(known, used)
        strange = used[_differs(known, rank, used)]
        if len(strange):
            known = np.union1d(known, strange)
            if len(known) > MAX_CENTROIDS:
                return None
            rank = np.searchsorted(known, used)
        sizes.append(len(part))
        places.append(where.astype(np.uint32))
        ranks.append(rank.astype(np.uint16))
        knew.append(known)
    for index, then in enumerate(knew):
        if len(then) < len(known):
            ranks[index] = np.searchsorted(known, then).astype(np.uint16)[ranks[index]]
    return known, sizes, places, ranks


def _differs(known: Floats, rank: NDArray[np.intp], used: Floats) -> NDArray[np.bool_]:
    if not len(known):
        return np.ones(len(used), np.bool_)
    differs: NDArray[np.bool_] = known[np.minimum(rank, len(known) - 1)] != used
    return differs


def _find_grid(values: Floats) -> tuple[float, Levels]:
    """The largest step of 8 significant bits that divides all values; 0: there is none."""
    smallest = float(np.abs(values).min())
    for first in range(1, _MAX_FIRST + 1):
        step = smallest / first
        if not _is_step(step):
            continue
        levels = np.rint(values.astype(np.float64) / step)
        if np.abs(levels).max() > MAX_GRID_LEVEL:
            break
        if np.array_equal(levels * step, values.astype(np.float64)):
            return step, levels.astype(np.int32)
    return 0.0, np.zeros(0, np.int32)


def _is_step(step: float) -> bool:
    narrow = np.float32(step)
    return bool(float(narrow) == step and narrow.view(np.uint32) & 0xFFFF == 0 and step > 0)
