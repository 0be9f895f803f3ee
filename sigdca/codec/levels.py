"""Where a tensor's weights are not zero, and which of its values they take (SPEC.md, "Levels").

A level is a whole number: 0 is the weight 0, 1 the smallest positive value, -1 the largest
negative one, and so on. What is likely is learnt from the weights before: in the same row and
column, next to this one, and above it in the image that the row looks at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.arithmetic import Coder, Table
from sigdca.codec.errors import LevelError

_MAX_RUN = 7
_MAX_SIZE = 15  # bit lengths from here on share their contexts
_TREE_BITS = 3  # of a level, below its top one; the others are as likely as not
_MAX_NEAR = 3


class Limits(NamedTuple):
    """How many values there are below and above zero."""

    negative: int
    positive: int


class _Tables:
    """All features of one tensor."""

    def __init__(self, num_columns: int) -> None:
        self.row = Table(2)
        self.column = Table(num_columns)
        self.around = Table(32)
        self.run = Table(_MAX_RUN + 1)
        self.density = Table(64)
        self.sign_near, self.sign_before = Table(9), Table(3)
        self.size = Table(_MAX_SIZE + 1)
        self.size_near = Table(4 * (_MAX_SIZE + 1))
        self.size_before = Table(4 * (_MAX_SIZE + 1))
        self.tail = Table((1 << _TREE_BITS) * (_MAX_SIZE + 2))


class LevelModel:
    """What is likely at the next weight of a tensor."""

    def __init__(self, num_columns: int, stride: int, limits: Limits, where: str) -> None:
        """Nothing is known yet.

        Args:
            num_columns: of each row.
            stride: columns from one line of a row's image to the next; 0: a row is no image.
            limits: the tensor's.
            where: the tensor, the opening of every message.
        """
        self._tables = _Tables(num_columns)
        self._before = [0] * num_columns  # the last level of each column that is not zero
        self._filled = [0] * num_columns  # how many such levels each column has
        self._stride, self._limits, self._where = stride, limits, where
        self._was_used, self._number = 0, -1
        self._run, self._in_row = 0, 0

    def code_start(self, coder: Coder, any_used: bool) -> bool:
        """Begins the next row: codes whether any of its levels is not zero."""
        self._was_used = coder.bit(int(any_used), (self._tables.row, self._was_used))
        self._number += 1
        self._run, self._in_row = 0, 0
        return bool(self._was_used)

    def code_one(self, coder: Coder, line: list[int], column: int, given: int) -> int:
        """Codes the level of a column; those before are in `line`.

        Raises:
            LevelError: a decoder finds a level beyond the limits.
        """
        tables, stride = self._tables, self._stride
        left = line[column - 1] if column > 0 else 0
        above = line[column - stride] if 0 < stride <= column else 0
        density = _fullness(self._filled[column], self._number)
        used = coder.bit(
            int(given != 0),
            (tables.column, column),
            (tables.around, _around(line, column, stride)),
            (tables.run, min(_MAX_RUN, self._run.bit_length())),
            (tables.density, 8 * density + _fullness(self._in_row, column)),
        )
        if not used:
            return 0
        near = (left, above, self._before[column])
        return _code_level(coder, tables, given, near, self._limits, self._where)

    def settle(self, column: int, level: int) -> None:
        """Moves on behind a level."""
        if level == 0:
            self._run += 1
            return
        self._run = 0
        self._in_row += 1
        self._filled[column] += 1
        self._before[column] = level


def code_levels(
    coder: Coder, levels: NDArray[np.int32], stride: int, limits: Limits, where: str
) -> None:
    """Codes a tensor's levels, row by row.

    Args:
        coder: an encoder, or a decoder.
        levels: [rows, columns]; a decoder fills it.
        stride: columns from one line of a row's image to the next; 0: a row is no image.
        limits: the tensor's.
        where: the tensor, the opening of every message.

    Raises:
        LevelError: a decoder finds a level beyond the limits.
    """
    model = LevelModel(levels.shape[1], stride, limits, where)
    for row in levels:
        line: list[int] = row.tolist()
        if not model.code_start(coder, any(line)):
            continue
        for column in range(len(line)):
            line[column] = model.code_one(coder, line, column, line[column])
            model.settle(column, line[column])
        row[:] = line


def _fullness(count: int, of: int) -> int:
    """About the logarithm of the share `count / of`, 0..7."""
    if count == 0:
        return int(of >= 16)
    return 7 - min(5, of.bit_length() - count.bit_length())


def _around(line: list[int], column: int, stride: int) -> int:
    """Which of the five weights around that are known are not zero, a bit for each."""
    found = int(column > 0 and line[column - 1] != 0)
    found |= int(column > 1 and line[column - 2] != 0) << 1
    if 0 < stride <= column:
        found |= int(line[column - stride] != 0) << 2
        found |= int(column > stride and line[column - stride - 1] != 0) << 3
        found |= int(line[column - stride + 1] != 0) << 4
    return found


def _sign(level: int) -> int:
    return (level > 0) + 2 * (level < 0)


def _code_level(
    coder: Coder,
    tables: _Tables,
    level: int,
    near: tuple[int, int, int],
    limits: Limits,
    where: str,
) -> int:
    """Codes a level that is not zero: its sign, then how many bits it has, then those."""
    left, above, before = near
    if limits.negative and limits.positive:
        negative = coder.bit(
            int(level < 0),
            (tables.sign_near, _sign(left) + 3 * _sign(above)),
            (tables.sign_before, _sign(before)),
        )
    else:
        negative = int(limits.negative > 0)
    most = limits.negative if negative else limits.positive
    around, behind = min(_MAX_NEAR, abs(left) + abs(above)), min(_MAX_NEAR, abs(before))
    target, size = abs(level).bit_length(), 1
    while size < most.bit_length():
        context = min(_MAX_SIZE, size)
        more = coder.bit(
            int(target > size),
            (tables.size, context),
            (tables.size_near, 4 * context + around),
            (tables.size_before, 4 * context + behind),
        )
        if not more:
            break
        size += 1
    node, context = 1, (1 << _TREE_BITS) * min(_MAX_SIZE + 1, size)
    tree_bits = min(_TREE_BITS, size - 1)
    for shift in range(size - 2, size - 2 - tree_bits, -1):
        node = 2 * node + coder.bit(abs(level) >> shift & 1, (tables.tail, context + node))
    rest = size - 1 - tree_bits
    found = node << rest | coder.plain(abs(level) & (1 << rest) - 1, rest)
    if found > most:
        raise LevelError(f"{where}: a level is beyond its tensor's values")
    return -found if negative else found
