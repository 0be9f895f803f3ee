"""Entropy coded streams: by the native library where it is there, else in Python.

Both give the same bytes. Python's (`arithmetic.py`, `levels.py`, `sparse.py`, `rans.py`) says what
is right; the library is some hundred times as fast.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import errors, rans
from sigdca.codec.arithmetic import Decoder, Encoder
from sigdca.codec.errors import (
    GapEndError,
    GapOverrunError,
    LevelError,
    StreamEndError,
    SymbolCountError,
    TrailingBitsError,
)
from sigdca.codec.levels import Limits, code_levels
from sigdca.codec.sparse import code_sparse
from sigdca.codec.varint import get_varint
from sigdca.errors import EngineError, FormatError
from sigdca.native import NativeFormatError
from sigdca.native import coder as native


class StreamCoder(Protocol):
    """Writes a stream, or reads one."""

    def plain(self, value: int, num_bits: int) -> int:
        """Codes bits that are all as likely as not; a reader ignores `value`."""

    def levels(self, levels: NDArray[np.int32], stride: int, limits: Limits, where: str) -> None:
        """Codes a tensor's levels; see `code_levels`."""

    def sparse(
        self,
        places: NDArray[np.uint32],
        levels: NDArray[np.int32],
        size: int,
        limits: Limits,
    ) -> None:
        """Writes a chunk's levels that are not zero; see `code_sparse`."""

    def sparse_weights(
        self,
        count: int,
        values: NDArray[np.float32],
        limits: Limits,
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        where: str,
    ) -> None:
        """Reads a chunk's levels that are not zero.

        Args:
            count: how many there are, at most as many as weights.
            values: float32 [N + P], of the levels, ascending.
            limits: N and P.
            weights: where they go.
            used: bool [N + P], becomes true for each that occurs.
            where: the tensor, the opening of every message.
        """

    def finish(self) -> bytes:
        """Ends the stream: what a writer has written; a reader makes sure that nothing follows."""


def open_coder(stream: memoryview | None, where: str, *, fast: bool = True) -> StreamCoder:
    """A coder for a stream.

    Args:
        stream: what is to be read; None to write one.
        where: what the stream is, the opening of messages.
        fast: by libsigdca, if it is there.
    """
    if fast:
        try:
            return _Native(stream, where)
        except EngineError:
            pass  # not built: a source tree without a compiler
    return _Plain(stream, where)


class _Plain:
    def __init__(self, stream: memoryview | None, where: str) -> None:
        self._coder = Encoder() if stream is None else Decoder(stream, where)

    def plain(self, value: int, num_bits: int) -> int:
        return self._coder.plain(value, num_bits)

    def levels(self, levels: NDArray[np.int32], stride: int, limits: Limits, where: str) -> None:
        code_levels(self._coder, levels, stride, limits, where)

    def sparse(
        self, places: NDArray[np.uint32], levels: NDArray[np.int32], size: int, limits: Limits
    ) -> None:
        code_sparse(self._coder, places.tolist(), levels.tolist(), size, limits, "")

    def sparse_weights(
        self,
        count: int,
        values: NDArray[np.float32],
        limits: Limits,
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        where: str,
    ) -> None:
        places, levels = [0] * count, [0] * count
        code_sparse(self._coder, places, levels, len(weights), limits, where)
        found = np.array(levels, np.int64)
        codes = found + limits.negative - (found > 0)
        weights[places] = values[codes]
        used[codes] = True

    def finish(self) -> bytes:
        return self._coder.finish() or b""


class _Native:
    def __init__(self, stream: memoryview | None, where: str) -> None:
        self._coder = native.LevelCoder(None if stream is None else bytes(stream))
        self._where = where

    def plain(self, value: int, num_bits: int) -> int:
        return self._coder.plain(value, num_bits)

    def levels(self, levels: NDArray[np.int32], stride: int, limits: Limits, where: str) -> None:
        try:
            self._coder.levels(levels, stride, limits.negative, limits.positive)
        except NativeFormatError as error:
            message = f"{where}: a level is beyond its tensor's values"
            raise LevelError(message) from error

    def sparse(
        self, places: NDArray[np.uint32], levels: NDArray[np.int32], size: int, limits: Limits
    ) -> None:
        self._coder.sparse(places, levels, size, limits.negative, limits.positive)

    def sparse_weights(
        self,
        count: int,
        values: NDArray[np.float32],
        limits: Limits,
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        where: str,
    ) -> None:
        try:
            self._coder.sparse_weights(
                count, values, limits.negative, limits.positive, weights, used, where
            )
        except NativeFormatError as error:
            raise _named(error) from error

    def finish(self) -> bytes:
        try:
            return self._coder.finish()
        except NativeFormatError as error:
            raise TrailingBitsError(str(error).replace("stream", self._where, 1)) from error


def encode_rans(symbols: NDArray[np.uint8], freqs: NDArray[np.int32], fast: bool) -> bytes:
    """A rANS stream; see `rans.encode`."""
    if fast:
        try:
            return native.encode_rans(symbols, freqs)
        except EngineError:
            pass
    return rans.encode(symbols, freqs)


class RansReader:
    """Reads the chunks of a weight that is coded by rANS."""

    def __init__(
        self,
        structure: int,
        freqs: NDArray[np.int32],
        level_freqs: NDArray[np.int32],
        where: str,
        fast: bool,
    ) -> None:
        """Keeps what the section's head says.

        Args:
            structure: 0: a map; else the bits of a gap symbol, 2..8.
            freqs: int32 [256 or 2^structure], of the structure's symbols, of sum 4096.
            level_freqs: int32 [N + P], of the values, of sum 4096.
            where: the tensor, the opening of every message.
            fast: by the library, if it is there.
        """
        self._structure, self._freqs, self._level_freqs = structure, freqs, level_freqs
        self._where, self._fast = where, fast

    def read(
        self,
        chunk: memoryview,
        values: NDArray[np.float32],
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
    ) -> None:
        """Reads a chunk into `weights`, which are zeros; sets `used` of each value that occurs.

        Raises:
            VarintError, SymbolCountError, StreamEndError, TrailingBitsError, RansStateError,
            GapOverrunError, GapEndError: as they say.
        """
        if self._fast:
            try:
                native.decode_rans(
                    chunk,
                    self._structure,
                    self._freqs,
                    self._level_freqs,
                    values,
                    weights,
                    used,
                    self._where,
                )
            except NativeFormatError as error:
                raise _named(error) from error
            except EngineError:
                pass
            else:
                return
        places, levels = self._places(chunk, len(weights))
        where = f"{self._where}: level stream"
        symbols = rans.decode(levels, len(places), self._level_freqs, where)
        codes = np.frombuffer(symbols, np.uint8)
        weights[places] = values[codes]
        used[codes] = True

    def _places(self, chunk: memoryview, size: int) -> tuple[NDArray[np.int64], memoryview]:
        """Where weights are not zero, and the stream of their levels."""
        has_map = self._structure == 0
        where = f"{self._where}: {'map' if has_map else 'gap'} stream"
        count, at = ((size + 7) // 8, 0) if has_map else get_varint(chunk, 0, where)
        if count > size:
            raise SymbolCountError(
                f"{where} promises {count} symbols, its chunk has {size} weights"
            )
        length, at = get_varint(chunk, at, where)
        stream, rest = chunk[at : at + length], chunk[at + length :]
        if len(stream) < length:
            raise StreamEndError(f"{where}: has {len(stream)} bytes of {length}")
        symbols = np.frombuffer(rans.decode(stream, count, self._freqs, where), np.uint8)
        if not has_map:
            return self._by_gaps(symbols, size, where), rest
        places = np.flatnonzero(np.unpackbits(symbols))
        if len(places) and places[-1] >= size:
            raise GapOverrunError(f"{where} leads to weight {places[-1]}, the last is {size - 1}")
        return places.astype(np.int64), rest

    def _by_gaps(self, symbols: NDArray[np.uint8], size: int, where: str) -> NDArray[np.int64]:
        filler = (1 << self._structure) - 1
        if len(symbols) and symbols[-1] == filler:
            raise GapEndError(f"{where}: symbol {len(symbols) - 1}, the last one, is a filler")
        is_weight = symbols != filler
        ends = np.cumsum(symbols.astype(np.int64) + is_weight)
        if len(ends) and ends[-1] > size:
            raise GapOverrunError(
                f"{where} leads to weight {ends[-1] - 1}, the last is {size - 1}"
            )
        places: NDArray[np.int64] = ends[is_weight] - 1
        return places


def _named(error: NativeFormatError) -> FormatError:
    """The library's error as the class of that name."""
    words = error.status_name.split("-")
    kind = getattr(errors, "".join(word.capitalize() for word in words) + "Error", FormatError)
    named: FormatError = kind(str(error))
    return named
