"""Prefix codes to bits and back, in numpy, a bounded piece at a time.

A prefix code must be read from its beginning, which numpy cannot do. So `unpack` asks its table
at every bit of a piece what symbol would begin there and how long it is. That gives "the next
symbol begins at" for every bit; applied to itself five times it leaps 32 symbols. Python follows
the leaps, a thirty-second of the work, and numpy fills in the symbols between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.errors import StreamEndError, TrailingBitsError

_PACK_SYMBOLS = 1 << 17
_UNPACK_BYTES = 1 << 13  # its tables of 64 K entries stay in a core's cache
_DOUBLINGS = 5  # leaps of 2^5 symbols


@dataclass(frozen=True)
class DecodeTable:
    """What begins where: indexed by the next `width` bits.

    Attributes:
        width: the longest code's bits, 1..16.
        symbols: uint16 [2^width].
        lengths: uint8 [2^width], the bits of that symbol's code, 1..width.
    """

    width: int
    symbols: NDArray[np.uint16]
    lengths: NDArray[np.uint8]


def pack(
    symbols: NDArray[np.unsignedinteger],
    codes: NDArray[np.uint32],
    lengths: NDArray[np.uint8],
    head: NDArray[np.uint8],
) -> bytes:
    """The codes of `symbols`, one behind the other, from each byte's top bit down.

    Args:
        symbols: [n], each an index into `codes`.
        codes: a code per symbol, in its lowest bits.
        lengths: their bits, 0 for a symbol that takes none.
        head: bits (0 or 1) to put in front.

    Returns:
        The bits as bytes; the last byte is filled up with zeros.
    """
    pieces: list[bytes] = []
    open_bits = head
    for start in range(0, len(symbols), _PACK_SYMBOLS):
        part = symbols[start : start + _PACK_SYMBOLS]
        sizes = lengths[part].astype(np.int64)
        ends = np.cumsum(sizes)
        shifts = np.repeat(ends - 1, sizes) - np.arange(ends[-1])
        bits = (np.repeat(codes[part], sizes) >> shifts.astype(np.uint32)) & 1
        open_bits = np.concatenate([open_bits, bits.astype(np.uint8)])
        whole = len(open_bits) // 8 * 8
        pieces.append(np.packbits(open_bits[:whole]).tobytes())
        open_bits = open_bits[whole:]
    pieces.append(np.packbits(open_bits).tobytes())
    return b"".join(pieces)


def unpack(
    data: NDArray[np.uint8], start: int, out: NDArray[np.unsignedinteger], table: DecodeTable
) -> int:
    """Fills `out` with the symbols that begin at bit `start`.

    Returns:
        The bit behind the last symbol; behind the end of `data` if the stream ends early, and
        then not all of `out` is filled.
    """
    done, at, num_bits = 0, start, 8 * len(data)
    while done < len(out) and at < num_bits:
        first = at // 8
        windows = _windows(data[first : first + _UNPACK_BYTES + 3], table.width)
        starts, at_next = _starts(windows, at - 8 * first, table.lengths)
        starts = starts[: len(out) - done]
        taken = windows[starts]
        out[done : done + len(starts)] = table.symbols[taken]
        done += len(starts)
        if done == len(out):
            at_next = int(starts[-1]) + int(table.lengths[taken[-1]])
        at = 8 * first + at_next
    return at if done == len(out) else num_bits + 1


def check_end(data: NDArray[np.uint8], count: int, end: int, where: str) -> None:
    """Makes sure that `count` symbols end in the last byte, and only zeros follow them there.

    Raises:
        StreamEndError: the last symbol ends behind `data`.
        TrailingBitsError: anything but up to seven zero bits is left.
    """
    num_bits = 8 * len(data)
    if end > num_bits:
        raise StreamEndError(f"{where} ends at bit {num_bits}, before the last of {count} symbols")
    if num_bits - end >= 8:
        raise TrailingBitsError(f"{where} is read at bit {end}, but goes on to bit {num_bits}")
    if end < num_bits and int(data[-1]) & (1 << num_bits - end) - 1:
        raise TrailingBitsError(f"{where}: padding after bit {end} must be zero")


def _windows(piece: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """The next `width` bits at every bit of the piece; what lies behind its end reads as zero."""
    size = min(len(piece), _UNPACK_BYTES)
    padded = np.zeros(size + 3, np.int64)
    padded[: len(piece)] = piece
    words = padded[:-3] << 24 | padded[1:-2] << 16 | padded[2:-1] << 8 | padded[3:]
    shifts = np.arange(32 - width, 24 - width, -1)
    return ((words[:, None] >> shifts) & (1 << width) - 1).ravel()


def _starts(
    windows: NDArray[np.int64], at: int, lengths: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], int]:
    """Where symbols begin, from bit `at` on, and where the first one behind this piece does."""
    size = len(windows)
    leap = np.arange(size + 16)  # bits behind the piece lead to themselves
    leap[:size] += lengths[windows]
    leaps = [leap]
    for _ in range(_DOUBLINGS):
        leap = leap[leap]
        leaps.append(leap)
    stops = []
    while at < size:
        stops.append(at)
        at = leap.item(at)
    starts = np.array(stops, np.int64)
    for leap in reversed(leaps[:-1]):
        starts = np.stack([starts, leap[starts]], axis=1).ravel()
    return starts[starts < size], at
