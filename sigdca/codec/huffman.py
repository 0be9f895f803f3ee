"""Canonical Huffman coding of whole-number symbols (SPEC.md, "Huffman stream").

Source: Huffman 1952; lengths limited by package-merge (Larmore and Hirschberg 1990). Deep
Compression, section 4, codes indices and gaps this way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.bitstream import DecodeTable, check_end, pack, unpack
from sigdca.codec.errors import CodeTableError, StreamEndError, SymbolCountError

MAX_CODE_BITS = 16
MAX_ALPHABET = 2**MAX_CODE_BITS
_FIRST_PREVIOUS = 4  # what the first length is compared with
_ABSENT = (1, 1, 1, 0)


def symbol_type(alphabet: int) -> type[np.uint8] | type[np.uint16]:
    """The smallest type that holds the symbols 0..alphabet - 1."""
    return np.uint8 if alphabet <= 256 else np.uint16


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bits of each symbol's code: of all codes of at most 16 bits, one of the shortest.

    Args:
        counts: how often each symbol occurs, [alphabet], at most 65536 of them.

    Returns:
        uint8 [alphabet]; 0 for a symbol that does not occur, 1 for the only one that does.
    """
    lengths = np.zeros(len(counts), np.uint8)
    used = np.flatnonzero(counts)
    if len(used) < 2:
        lengths[used] = 1
        return lengths
    order = used[np.argsort(counts[used], kind="stable")]
    leaves = counts[order]
    packages = leaves[:0]
    rounds = []
    for _ in range(MAX_CODE_BITS):
        merged = np.concatenate([leaves, packages])
        place = np.argsort(merged, kind="stable")
        rounds.append(place < len(leaves))
        merged = merged[place]
        even = len(merged) // 2 * 2
        packages = merged[0:even:2] + merged[1:even:2]
    ranked = np.zeros(len(leaves), np.uint8)
    taken = 2 * len(leaves) - 2
    for is_leaf in reversed(rounds):
        num_leaves = int(np.count_nonzero(is_leaf[:taken]))
        ranked[:num_leaves] += 1
        taken = 2 * (taken - num_leaves)
    lengths[order] = ranked
    return lengths


def coded_bytes(counts: NDArray[np.int64]) -> int:
    """What `encode` makes of symbols that occur so often."""
    lengths = code_lengths(counts)
    bits = len(_table_bits(lengths))
    if np.count_nonzero(lengths) > 1:
        bits += int(np.dot(counts, lengths.astype(np.int64)))
    return -(-bits // 8)


def encode(symbols: NDArray[np.unsignedinteger], alphabet: int) -> bytes:
    """Code lengths and codes of the symbols, as one string of bits.

    Args:
        symbols: [n], each below `alphabet`. No symbols give no bytes.
        alphabet: 1..65536.
    """
    if len(symbols) == 0:
        return b""
    lengths = code_lengths(np.bincount(symbols, minlength=alphabet))
    head = np.array(_table_bits(lengths), np.uint8)
    if np.count_nonzero(lengths) == 1:
        return np.packbits(head).tobytes()
    return pack(symbols, _codes(lengths), lengths, head)


def decode(
    data: bytes | memoryview, count: int, alphabet: int, where: str = "stream"
) -> NDArray[np.unsignedinteger]:
    """Reads back what `encode` wrote. Nothing is allocated before the bits can hold the symbols.

    Args:
        data: the stream, whole.
        count: how many symbols it holds. A stream of one distinct symbol spends no bits, so the
            caller must know a bound.
        alphabet: 1..65536.
        where: what the stream is, the opening of every message.

    Returns:
        uint8 [count], or uint16 for an alphabet above 256.

    Raises:
        CodeTableError: the code lengths are no complete prefix code.
        StreamEndError: the stream ends before its last symbol does.
        TrailingBitsError: it goes on behind its last symbol.
        SymbolCountError: `count` is negative.
    """
    if count < 0:
        raise SymbolCountError(f"{where} promises {count} symbols")
    bits = np.frombuffer(data, np.uint8)
    if count == 0:
        check_end(bits, count, 0, where)
        return np.zeros(0, symbol_type(alphabet))
    lengths, start = _read_table(data, alphabet, where)
    used = np.flatnonzero(lengths)
    if len(used) == 1:
        check_end(bits, count, start, where)
        return np.full(count, used[0], symbol_type(alphabet))
    least = start + count * int(lengths[used].min())
    if least > 8 * len(bits):
        raise StreamEndError(
            f"{where} ends at bit {8 * len(bits)}, its {count} symbols need at least {least}"
        )
    out = np.empty(count, symbol_type(alphabet))
    end = unpack(bits, start, out, _decode_table(lengths))
    check_end(bits, count, end, where)
    return out


def _canonical(lengths: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The symbols that have a code, in the order of their codes: by length, then by number."""
    order = np.argsort(lengths, kind="stable")
    return order[np.count_nonzero(lengths == 0) :]


def _codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    order = _canonical(lengths)
    spans = 1 << (MAX_CODE_BITS - lengths[order].astype(np.int64))
    firsts = np.cumsum(spans) - spans
    codes = np.zeros(len(lengths), np.uint32)
    codes[order] = firsts >> (MAX_CODE_BITS - lengths[order].astype(np.int64))
    return codes


def _decode_table(lengths: NDArray[np.uint8]) -> DecodeTable:
    order = _canonical(lengths)
    width = int(lengths.max())
    spans = 1 << (width - lengths[order].astype(np.int64))
    symbols = np.repeat(order.astype(np.uint16), spans)
    return DecodeTable(width, symbols, np.repeat(lengths[order], spans))


def _table_bits(lengths: NDArray[np.uint8]) -> list[int]:
    """Code lengths as bits: most are that of the symbol before, or one off."""
    bits: list[int] = []
    previous = _FIRST_PREVIOUS
    for length in lengths.tolist():
        if length == 0:
            bits += _ABSENT
            continue
        if length == previous:
            bits.append(0)
        elif length == previous + 1:
            bits += (1, 0)
        elif length == previous - 1:
            bits += (1, 1, 0)
        else:
            bits += (1, 1, 1, 1, *((length - 1 >> shift) & 1 for shift in (3, 2, 1, 0)))
        previous = length
    return bits


def _read_table(
    data: bytes | memoryview, alphabet: int, where: str
) -> tuple[NDArray[np.uint8], int]:
    """The code lengths, and the bit behind them."""
    bits = _Bits(data, where)
    lengths = np.zeros(alphabet, np.uint8)
    previous, room = _FIRST_PREVIOUS, MAX_ALPHABET
    for symbol in range(alphabet):
        ones = 0
        while ones < 4 and bits.next():
            ones += 1
        if ones == 3:
            continue
        if ones == 4:
            previous = 1 + sum(bits.next() << shift for shift in (3, 2, 1, 0))
        else:
            previous += (0, 1, -1)[ones]
        if not 1 <= previous <= MAX_CODE_BITS:
            raise CodeTableError(
                f"{where}: symbol {symbol} has a code of {previous} bits, must be "
                f"1..{MAX_CODE_BITS}"
            )
        lengths[symbol] = previous
        room -= MAX_ALPHABET >> previous
        if room < 0:
            raise CodeTableError(f"{where}: code lengths are over-subscribed at symbol {symbol}")
    only_one = np.count_nonzero(lengths) == 1 and int(lengths.max()) == 1
    if room and not only_one:
        raise CodeTableError(
            f"{where}: code lengths are under-subscribed, {room} of {MAX_ALPHABET} parts are free"
        )
    return lengths, bits.at


class _Bits:
    """Single bits, from each byte's top bit down."""

    def __init__(self, data: bytes | memoryview, where: str) -> None:
        self._data, self._where, self.at = data, where, 0

    def next(self) -> int:
        index, place = divmod(self.at, 8)
        if index >= len(self._data):
            raise StreamEndError(f"{self._where} ends at bit {self.at}, within its code lengths")
        self.at += 1
        return self._data[index] >> 7 - place & 1
