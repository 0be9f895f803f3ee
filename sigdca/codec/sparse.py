"""Weights that are not zero, by the zeros between them (SPEC.md, "Sparse levels").

For layers whose weights lie anywhere: what is between two of them takes a handful of bits to code,
where a significance map takes one for each weight.
"""

from __future__ import annotations

from sigdca.codec.arithmetic import Counters, CountingCoder
from sigdca.codec.errors import GapOverrunError, LevelError
from sigdca.codec.levels import Limits

MAX_GAP_BITS = 31
_TREE_BITS = 3  # of a gap, below its top one; the others are as likely as not
_MAX_NEAR = 3
_MAX_SIZE = 15
_LEVEL_TREE_BITS = 3


class _Tables:
    """All contexts of one chunk."""

    def __init__(self) -> None:
        self.gap = Counters(32 * 32)
        self.gap_tail = Counters(8 * 32)
        self.sign = Counters(3)
        self.size = Counters(4 * (_MAX_SIZE + 1))
        self.tail = Counters((1 << _LEVEL_TREE_BITS) * (_MAX_SIZE + 2))


def code_sparse(
    coder: CountingCoder,
    places: list[int],
    levels: list[int],
    size: int,
    limits: Limits,
    where: str,
) -> None:
    """Codes where weights are not zero, and their levels.

    Args:
        coder: an encoder, or a decoder.
        places: ascending, below `size`; a decoder fills it.
        levels: as many; a decoder fills it.
        size: the chunk's number of weights.
        limits: the tensor's.
        where: the tensor, the opening of every message.

    Raises:
        GapOverrunError: a decoder is led behind the last weight.
        LevelError: a decoder finds a level beyond the limits.
    """
    tables = _Tables()
    cursor, length_before, before = 0, 0, 0
    for number, (place, level) in enumerate(zip(places, levels, strict=True)):
        gap, length_before = _code_gap(coder, tables, place - cursor, length_before)
        cursor += gap
        if cursor >= size:
            raise GapOverrunError(f"{where}: gaps lead to weight {cursor}, the last is {size - 1}")
        before = _code_level(coder, tables, level, before, limits, where)
        places[number], levels[number] = cursor, before
        cursor += 1


def _code_gap(coder: CountingCoder, tables: _Tables, gap: int, before: int) -> tuple[int, int]:
    """Codes how many bits a gap has, then those below the top one."""
    target, length = gap.bit_length(), 0
    while length < MAX_GAP_BITS:
        if not coder.counted(int(target > length), tables.gap, 32 * before + length):
            break
        length += 1
    if length == 0:
        return 0, 0
    node = 1
    tree_bits = min(_TREE_BITS, length - 1)
    for shift in range(length - 2, length - 2 - tree_bits, -1):
        node = 2 * node + coder.counted(gap >> shift & 1, tables.gap_tail, 8 * length + node)
    rest = length - 1 - tree_bits
    return node << rest | coder.plain(gap & (1 << rest) - 1, rest), length


def _code_level(
    coder: CountingCoder, tables: _Tables, level: int, before: int, limits: Limits, where: str
) -> int:
    """Codes a level that is not zero: its sign, then how many bits it has, then those."""
    if limits.negative and limits.positive:
        sign_before = (before > 0) + 2 * (before < 0)
        negative = coder.counted(int(level < 0), tables.sign, sign_before)
    else:
        negative = int(limits.negative > 0)
    most = limits.negative if negative else limits.positive
    near = min(_MAX_NEAR, abs(before))
    target, size = abs(level).bit_length(), 1
    while size < most.bit_length():
        context = min(_MAX_SIZE, size)
        if not coder.counted(int(target > size), tables.size, 4 * context + near):
            break
        size += 1
    node, context = 1, (1 << _LEVEL_TREE_BITS) * min(_MAX_SIZE + 1, size)
    tree_bits = min(_LEVEL_TREE_BITS, size - 1)
    for shift in range(size - 2, size - 2 - tree_bits, -1):
        node = 2 * node + coder.counted(abs(level) >> shift & 1, tables.tail, context + node)
    rest = size - 1 - tree_bits
    found = node << rest | coder.plain(abs(level) & (1 << rest) - 1, rest)
    if found > most:
        raise LevelError(f"{where}: a level is beyond its tensor's values")
    return -found if negative else found
