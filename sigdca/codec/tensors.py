"""One tensor as sections and back: whatever is smallest, and the same bits again.

Three forms, told apart by which sections there are (SPEC.md, "Tensors"): every weight raw; an
index for every weight; gaps, and an index for every non-zero weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import gaps as gap_coding
from sigdca.codec import huffman
from sigdca.codec.errors import (
    CodebookError,
    GapBitsError,
    SectionLengthError,
    SymbolCountError,
    ValueRangeError,
)
from sigdca.codec.layout import Kind, entry_bytes
from sigdca.codec.varint import get_varint, put_varint

MAX_CENTROIDS = huffman.MAX_ALPHABET
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Shared:
    """A codebook with the number of weights at each of its values.

    Attributes:
        values: uint32 [k], the bits of distinct float32 values, those with short codes first.
        counts: int64 [k].
    """

    values: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @classmethod
    def ordered(cls, values: NDArray[np.uint32], counts: NDArray[np.int64]) -> _Shared:
        """Orders the codebook so that code lengths only grow: then they are cheap to write."""
        order = np.argsort(huffman.code_lengths(counts), kind="stable")
        return cls(values[order], counts[order])

    def index_bytes(self) -> int:
        return len(put_varint(int(self.counts.sum()))) + huffman.coded_bytes(self.counts)

    def indices(self, weights: NDArray[np.float32]) -> NDArray[np.unsignedinteger]:
        order = np.argsort(self.values)
        rank = order.astype(huffman.symbol_type(len(order)))
        ascending = self.values[order]
        parts = [rank[np.searchsorted(ascending, _bits(part))] for part in _chunks(weights)]
        return np.concatenate(parts)


def put_tensor(weights: NDArray[np.float32], tensor: int, where: str) -> dict[Kind, bytes]:
    """The sections of a tensor in its smallest form.

    Args:
        weights: flat float32. -0.0 becomes 0.0.
        tensor: its number, which has a part in what a section costs.
        where: the tensor, the opening of every message.

    Raises:
        ValueRangeError: a weight is NaN or infinite.
    """
    forms = [(_cost(tensor, 4 * len(weights)), lambda: _put_raw(weights))]
    values, counts = _distinct(weights, where)
    if len(values) <= MAX_CENTROIDS:
        every = _Shared.ordered(values, counts)
        cost = _cost(tensor, 4 * len(values), every.index_bytes())
        forms.append((cost, lambda: _put_shared(every, weights)))
    kept = values != 0
    if not kept.all() and 1 <= np.count_nonzero(kept) <= MAX_CENTROIDS:
        some = _Shared.ordered(values[kept], counts[kept])
        gaps = _gaps(weights)
        bits, gap_bytes = _best_gap_bits(gaps)
        cost = _cost(tensor, 4 * len(some.values), some.index_bytes(), gap_bytes)
        forms.append((cost, lambda: _put_sparse(some, weights, gaps, bits)))
    return min(forms, key=itemgetter(0))[1]()


def get_tensor(
    sections: Mapping[Kind, memoryview], size: int, where: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Reads a tensor from its sections.

    Args:
        sections: one of the three forms.
        size: the number of weights that the graph declares.
        where: the tensor, the opening of every message.

    Returns:
        The weights, flat, and their codebook (None if they are raw).

    Raises:
        SectionLengthError, ValueRangeError, CodebookError, SymbolCountError, VarintError,
        GapBitsError, GapOverrunError, GapEndError: as they say; and what `huffman.decode` raises.
    """
    if Kind.DENSE in sections:
        raw = sections[Kind.DENSE]
        if len(raw) != 4 * size:
            raise SectionLengthError(f"{where}: raw section has {len(raw)} bytes, not {4 * size}")
        weights = np.frombuffer(raw, "<f4").astype(np.float32)
        _check_values(weights, where)
        return weights, None
    has_gaps = Kind.GAPS in sections
    codebook = _get_codebook(sections[Kind.CODEBOOK], has_gaps, where)
    indices = _get_indices(sections[Kind.INDICES], len(codebook), size, has_gaps, where)
    if has_gaps:
        return _scatter(sections[Kind.GAPS], codebook, indices, size, where), codebook
    return codebook[indices], codebook


def _cost(tensor: int, *lengths: int) -> int:
    return sum(length + entry_bytes(tensor, length) for length in lengths)


def _chunks(weights: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(weights), _CHUNK):
        yield weights[start : start + _CHUNK]


def _bits(weights: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Floats as whole numbers: equal bits, equal weight. Adding 0 makes -0.0 to 0.0."""
    return (weights + np.float32(0)).view(np.uint32)


def _distinct(
    weights: NDArray[np.float32], where: str
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The distinct values (their bits) and their counts.

    Where they are more than a codebook and 0 can hold, they are not counted to the end. But every
    weight is looked at for NaN and infinity.
    """
    values, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64)
    for number, part in enumerate(_chunks(weights)):
        finite = np.isfinite(part)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise ValueRangeError(
                f"{where}: weight {number * _CHUNK + bad} is {part[bad]}, must be finite"
            )
        if len(values) > MAX_CENTROIDS + 1:
            continue
        new, new_counts = np.unique(_bits(part), return_counts=True)
        values, inverse = np.unique(np.concatenate([values, new]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([counts, new_counts])).astype(np.int64)
    return values, counts


def _gaps(weights: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The zeros before each non-zero weight."""
    parts, start, last = [], 0, -1
    for part in _chunks(weights):
        places = np.flatnonzero(part) + start
        start += len(part)
        if len(places):
            parts.append((np.diff(places, prepend=last) - 1).astype(np.uint32))
            last = int(places[-1])
    return np.concatenate(parts)


def _best_gap_bits(gaps: NDArray[np.uint32]) -> tuple[int, int]:
    """The width of gap symbols that gives the smallest section, and that section's bytes."""
    values, counts = np.unique(gaps, return_counts=True)
    sizes = []
    for bits in gap_coding.GAP_BITS:
        symbols = gap_coding.symbol_counts(values, counts, bits)
        length = len(put_varint(int(symbols.sum()))) + 1 + huffman.coded_bytes(symbols)
        sizes.append((length, bits))
    length, bits = min(sizes)
    return bits, length


def _put_raw(weights: NDArray[np.float32]) -> dict[Kind, bytes]:
    return {Kind.DENSE: _bits(weights).astype("<u4").tobytes()}


def _put_sparse(
    shared: _Shared, weights: NDArray[np.float32], gaps: NDArray[np.uint32], bits: int
) -> dict[Kind, bytes]:
    parts = _put_shared(shared, np.concatenate([part[part != 0] for part in _chunks(weights)]))
    symbols = gap_coding.to_symbols(gaps, bits)
    stream = huffman.encode(symbols, 2**bits)
    return parts | {Kind.GAPS: put_varint(len(symbols)) + bytes([bits]) + stream}


def _put_shared(shared: _Shared, weights: NDArray[np.float32]) -> dict[Kind, bytes]:
    stream = huffman.encode(shared.indices(weights), len(shared.values))
    return {
        Kind.CODEBOOK: shared.values.astype("<u4").tobytes(),
        Kind.INDICES: put_varint(len(weights)) + stream,
    }


def _check_values(weights: NDArray[np.float32], where: str) -> None:
    for number, part in enumerate(_chunks(weights)):
        wrong = ~np.isfinite(part) | ((part == 0) & np.signbit(part))
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise ValueRangeError(
                f"{where}: value {number * _CHUNK + bad} is {part[bad]}, must be finite and not -0"
            )


def _get_codebook(raw: memoryview, has_gaps: bool, where: str) -> NDArray[np.float32]:
    if not 4 <= len(raw) <= 4 * MAX_CENTROIDS or len(raw) % 4:
        raise CodebookError(
            f"{where}: codebook has {len(raw)} bytes, must be 4 times 1..{MAX_CENTROIDS}"
        )
    codebook = np.frombuffer(raw, "<f4").astype(np.float32)
    _check_values(codebook, f"{where}: codebook")
    ascending = np.sort(codebook)
    twice = np.flatnonzero(ascending[1:] == ascending[:-1])
    if len(twice):
        raise CodebookError(f"{where}: codebook holds {ascending[twice[0]]} twice")
    if has_gaps and not codebook.all():
        raise CodebookError(f"{where}: codebook holds 0, which the gaps say already")
    return codebook


def _get_indices(
    raw: memoryview, alphabet: int, size: int, has_gaps: bool, where: str
) -> NDArray[np.unsignedinteger]:
    where = f"{where}: index stream"
    count, at = get_varint(raw, 0, where)
    if count != size and not has_gaps:
        raise SymbolCountError(f"{where} promises {count} symbols, the tensor has {size} weights")
    if not 1 <= count <= size:
        raise SymbolCountError(f"{where} promises {count} symbols, must be 1..{size}")
    return huffman.decode(raw[at:], count, alphabet, where)


def _scatter(
    raw: memoryview,
    codebook: NDArray[np.float32],
    indices: NDArray[np.unsignedinteger],
    size: int,
    where: str,
) -> NDArray[np.float32]:
    where = f"{where}: gap stream"
    count, at = get_varint(raw, 0, where)
    if not len(indices) <= count <= size:
        raise SymbolCountError(f"{where} promises {count} symbols, must be {len(indices)}..{size}")
    bits = raw[at] if at < len(raw) else 0
    if bits not in gap_coding.GAP_BITS:
        raise GapBitsError(f"{where}: symbols of {bits} bits, must be 2..8")
    symbols = huffman.decode(raw[at + 1 :], count, 2**bits, where)
    num_weights = count - int(np.count_nonzero(symbols == 2**bits - 1))
    if num_weights != len(indices):
        raise SymbolCountError(
            f"{where} places {num_weights} weights, index stream has {len(indices)}"
        )
    weights = np.zeros(size, np.float32)
    done = 0
    for places in gap_coding.to_positions(symbols, bits, size, where):
        weights[places] = codebook[indices[done : done + len(places)]]
        done += len(places)
    return weights
