"""Where the non-zero weights are: the zeros between them, as symbols of b bits.

Deep Compression, section 2, stores the distance to the next weight in b bits; where it is too
long, a filler takes the longest distance and *carries a zero weight*, so that each gap has an
index. Here a filler (symbol 2^b - 1) stands alone: it skips 2^b - 1 zeros and spends no index
symbol, and the codebook needs no zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.errors import GapEndError, GapOverrunError

GAP_BITS = range(2, 9)
_CHUNK = 1 << 18


def symbol_counts(
    gaps: NDArray[np.uint32], counts: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    """How often each symbol would be written.

    Args:
        gaps: distinct numbers of zeros before a weight.
        counts: how often each of them occurs.
        bits: the width of a symbol.

    Returns:
        int64 [2^bits]; the filler is the last.
    """
    filler = 2**bits - 1
    result = np.zeros(2**bits, np.int64)
    np.add.at(result, gaps % filler, counts)
    result[filler] = np.dot((gaps // filler).astype(np.int64), counts)
    return result


def to_symbols(gaps: NDArray[np.uint32], bits: int) -> NDArray[np.uint8]:
    """The symbols for these numbers of zeros before each weight, fillers between them."""
    filler = 2**bits - 1
    ends = np.cumsum(gaps // filler + 1, dtype=np.int64)
    symbols = np.full(int(ends[-1]) if len(ends) else 0, filler, np.uint8)
    symbols[ends - 1] = gaps % filler
    return symbols


def to_positions(
    symbols: NDArray[np.unsignedinteger], bits: int, size: int, where: str
) -> Iterator[NDArray[np.int64]]:
    """The places of the weights in their flat tensor, ascending, a bounded piece at a time.

    Args:
        symbols: as `to_symbols` gives them, with values below 2^bits.
        bits: the width of a symbol.
        size: the tensor's number of weights.
        where: what the stream is, the opening of every message.

    Raises:
        GapEndError: the last symbol is a filler, which leads to no weight.
        GapOverrunError: a weight would lie behind the tensor's end.
    """
    filler = 2**bits - 1
    if len(symbols) and symbols[-1] == filler:
        raise GapEndError(f"{where}: symbol {len(symbols) - 1}, the last one, is a filler")
    cursor = 0
    for start in range(0, len(symbols), _CHUNK):
        part = symbols[start : start + _CHUNK].astype(np.int64)
        is_weight = part != filler
        ends = np.cumsum(part + is_weight) + cursor
        cursor = int(ends[-1])
        if cursor > size:
            raise GapOverrunError(f"{where} leads to weight {cursor - 1}, the last is {size - 1}")
        yield ends[is_weight] - 1
