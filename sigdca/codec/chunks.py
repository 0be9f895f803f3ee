"""A weight's levels chunk by chunk: sparse, or by rANS (SPEC.md, "Chunks").

A chunk is some whole rows; each is read by itself, so that a large layer is read by several
processors, and in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import gaps as gap_coding
from sigdca.codec import rans
from sigdca.codec.coders import RansReader, StreamCoder, encode_rans, open_coder
from sigdca.codec.errors import (
    CodebookError,
    FrequencyError,
    GapBitsError,
    SectionLengthError,
    SymbolCountError,
)
from sigdca.codec.levels import Limits
from sigdca.codec.parallel import in_order
from sigdca.codec.values import Floats, Levels, Piece, Places, chunk_size
from sigdca.codec.varint import get_varint, put_varint

MAP = 0  # the structure of a rANS section: a bit for each weight; else the bits of a gap symbol
_STRUCTURE_BITS = 4
_COUNT_BITS = 32


class Target(NamedTuple):
    """What a tensor is read into.

    Attributes:
        weights: float32 [n], zeros before.
        used: bool [N + P], which of the values are there; all false before.
        values: float32 [N + P], ascending.
        limits: N and P.
    """

    weights: Floats
    used: NDArray[np.bool_]
    values: Floats
    limits: Limits

    def part(self, start: int, stop: int) -> Target:
        """Some of the weights, with a `used` of its own."""
        return self._replace(weights=self.weights[start:stop], used=np.zeros_like(self.used))


def put_sparse(pieces: Sequence[Piece], limits: Limits, threads: int, fast: bool) -> bytes:
    """The chunks of a section with coder 4."""

    def put(piece: Piece) -> bytes:
        coder = open_coder(None, "", fast=fast)
        coder.plain(len(piece.places), _COUNT_BITS)
        coder.sparse(piece.places, piece.levels, piece.size, limits)
        stream = coder.finish()
        return put_varint(len(stream)) + stream

    return b"".join(in_order(put, pieces, threads))


def get_sparse(
    content: memoryview, rows: int, target: Target, where: str, threads: int, fast: bool
) -> None:
    """Reads the chunks of a section with coder 4.

    Raises:
        VarintError, SectionLengthError, SymbolCountError, GapOverrunError, LevelError,
        TrailingBitsError: as they say.
    """

    def get(chunk: memoryview, part: Target) -> None:
        coder = open_coder(chunk, f"{where}: stream", fast=fast)
        count, size = coder.plain(0, _COUNT_BITS), len(part.weights)
        if count > size:
            raise SymbolCountError(f"{where}: promises {count} weights, its chunk has {size}")
        coder.sparse_weights(count, part.values, part.limits, part.weights, part.used, where)
        coder.finish()

    _get_chunks(content, rows, target, where, threads, get)


def put_rans(
    coder: StreamCoder, pieces: Sequence[Piece], limits: Limits, threads: int, fast: bool
) -> bytes:
    """The chunks of a section with coder 2.

    Args:
        coder: the section's head, which gets the frequencies.
        pieces: the weight's.
        limits: its N and P, at most 256 together.
        threads: as many chunks are written at once.
        fast: by libsigdca, if it is there.
    """
    codes = [_codes(piece.levels, limits) for piece in pieces]
    counts = sum(np.bincount(code, minlength=sum(limits)) for code in codes)
    level_freqs = rans.frequencies(np.asarray(counts, np.int64))
    structure, symbols, numbers = _smallest_structure(pieces)
    freqs = rans.frequencies(numbers)
    coder.plain(structure, _STRUCTURE_BITS)
    _code_frequencies(coder, freqs, "")
    _code_frequencies(coder, level_freqs, "")

    def put(index: int) -> bytes:
        places = encode_rans(symbols(pieces[index]), freqs, fast)
        levels = encode_rans(codes[index], level_freqs, fast)
        count = b"" if structure == MAP else put_varint(len(symbols(pieces[index])))
        body = count + put_varint(len(places)) + places + levels
        return put_varint(len(body)) + body

    return b"".join(in_order(put, range(len(pieces)), threads))


def get_rans(
    coder: StreamCoder,
    content: memoryview,
    rows: int,
    target: Target,
    where: str,
    threads: int,
    fast: bool,
) -> None:
    """Reads the chunks of a section with coder 2.

    Args:
        coder: the section's head, behind the weight's values.
        content: what follows the head.
        rows: the weight's.
        target: what is filled.
        where: the tensor, the opening of every message.
        threads: as many chunks are read at once.
        fast: by libsigdca, if it is there.

    Raises:
        CodebookError, GapBitsError, FrequencyError, LevelError, VarintError, SectionLengthError,
        SymbolCountError, StreamEndError, TrailingBitsError, RansStateError, GapOverrunError,
        GapEndError: as they say.
    """
    if sum(target.limits) > rans.MAX_ALPHABET:
        size = sum(target.limits)
        raise CodebookError(
            f"{where}: codebook of {size} values, limit {rans.MAX_ALPHABET} with rANS"
        )
    structure = coder.plain(0, _STRUCTURE_BITS)
    if structure != MAP and structure not in gap_coding.GAP_BITS:
        raise GapBitsError(f"{where}: symbols of {structure} bits, must be 2..8, or 0 for a map")
    freqs = np.zeros(rans.MAX_ALPHABET if structure == MAP else 1 << structure, np.int32)
    _code_frequencies(coder, freqs, where)
    level_freqs = np.zeros(sum(target.limits), np.int32)
    _code_frequencies(coder, level_freqs, where)
    reader = RansReader(structure, freqs, level_freqs, where, fast)

    def get(chunk: memoryview, part: Target) -> None:
        reader.read(chunk, part.values, part.weights, part.used)

    _get_chunks(content, rows, target, where, threads, get)


def _get_chunks(
    content: memoryview,
    rows: int,
    target: Target,
    where: str,
    threads: int,
    get: Callable[[memoryview, Target], None],
) -> None:
    def one(chunk: tuple[memoryview, int, int]) -> NDArray[np.bool_]:
        part = target.part(chunk[1], chunk[2])
        get(chunk[0], part)
        return part.used

    for used in in_order(one, list(_cut(content, rows, len(target.weights), where)), threads):
        target.used[:] |= used


def _cut(
    content: memoryview, rows: int, size: int, where: str
) -> Iterator[tuple[memoryview, int, int]]:
    """Each chunk's bytes, its first weight and the first one behind."""
    at, step = 0, chunk_size(rows, size)
    for start in range(0, size, step):
        length, at = get_varint(content, at, f"{where}: chunk {start // step}")
        if at + length > len(content):
            raise SectionLengthError(
                f"{where}: chunk {start // step} has {length} bytes, {len(content) - at} are left"
            )
        yield content[at : at + length], start, min(size, start + step)
        at += length
    if at != len(content):
        raise SectionLengthError(f"{where}: {len(content) - at} bytes follow its last chunk")


def _codes(levels: Levels, limits: Limits) -> NDArray[np.uint8]:
    """Levels as the ranks of their values: what is below zero comes first."""
    return (levels + limits.negative - (levels > 0)).astype(np.uint8)


def _code_frequencies(coder: StreamCoder, freqs: NDArray[np.int32], where: str) -> None:
    line = freqs.reshape(1, -1)
    coder.levels(line, 0, Limits(0, rans.SCALE), f"{where}: frequencies")
    if (total := int(line.sum())) != rans.SCALE:
        raise FrequencyError(f"{where}: frequencies add up to {total}, must be {rans.SCALE}")


def _smallest_structure(
    pieces: Sequence[Piece],
) -> tuple[int, Callable[[Piece], NDArray[np.uint8]], NDArray[np.int64]]:
    """Gaps or a map, whichever takes less: its number, its symbols, and how often each occurs."""
    counts = np.zeros(rans.MAX_ALPHABET, np.int64)
    gap_sizes: NDArray[np.int64] = np.zeros(0, np.int64)
    for piece in pieces:
        counts += np.bincount(_map_of(piece), minlength=rans.MAX_ALPHABET)
        found = np.bincount(_gaps_of(piece.places))
        if len(found) > len(gap_sizes):
            gap_sizes = np.pad(gap_sizes, (0, len(found) - len(gap_sizes)))
        gap_sizes[: len(found)] += found
    best, structure, numbers = _bits(counts), MAP, counts
    gaps = np.flatnonzero(gap_sizes).astype(np.uint32)
    for bits in gap_coding.GAP_BITS:
        symbols = gap_coding.symbol_counts(gaps, gap_sizes[gaps], bits)
        if (needed := _bits(symbols)) < best:
            best, structure, numbers = needed, bits, symbols
    if structure == MAP:
        return structure, _map_of, numbers
    return (
        structure,
        lambda piece: gap_coding.to_symbols(_gaps_of(piece.places), structure),
        numbers,
    )


def _bits(counts: NDArray[np.int64]) -> float:
    """What so many symbols take at least."""
    used = counts[counts > 0].astype(np.float64)
    return float((used * np.log2(used.sum() / used)).sum())


def _map_of(piece: Piece) -> NDArray[np.uint8]:
    """A bit for each weight, eight to a byte, the first one on top."""
    bits = np.zeros(piece.size, np.uint8)
    bits[piece.places] = 1
    return np.packbits(bits)


def _gaps_of(places: Places) -> NDArray[np.uint32]:
    """The zeros before each weight."""
    return np.diff(places.astype(np.int64), prepend=-1).astype(np.uint32) - np.uint32(1)
