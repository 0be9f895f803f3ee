"""Entropy coded streams by libsigdca-codec: what `sigdca.codec` does where that is there."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from sigdca.native import library as c

MAX_VALUES = 65535
_LIMIT = 31  # SIGDCA_LIMIT


class LevelCoder:
    """An arithmetic stream of plain bits and levels (sigdca/codec/SPEC.md), written or read."""

    def __init__(self, stream: bytes | None = None) -> None:
        """Opens a coder.

        Args:
            stream: what a decoder reads; None for an encoder.

        Raises:
            EngineError: the library is not there.
        """
        self._library = c.codec_library()
        self._stream = (
            None if stream is None else ctypes.create_string_buffer(stream, len(stream) + 1)
        )
        self._coder = ctypes.c_void_p()
        error = c.CError()
        c.check(
            self._library.sigdca_coder_create(
                self._stream,
                0 if stream is None else len(stream),
                None,
                ctypes.byref(self._coder),
                ctypes.byref(error),
            ),
            error,
        )
        c.finalize(self, self._library.sigdca_coder_free, self._coder)

    def plain(self, value: int, num_bits: int) -> int:
        """Codes up to 32 bits that are all as likely as not; a decoder ignores `value`."""
        number, error = ctypes.c_uint32(value), c.CError()
        c.check(
            self._library.sigdca_coder_plain(
                self._coder, num_bits, ctypes.byref(number), ctypes.byref(error)
            ),
            error,
        )
        return number.value

    def levels(self, levels: NDArray[np.int32], stride: int, negative: int, positive: int) -> None:
        """Codes a tensor's levels; a decoder sets them.

        Args:
            levels: [rows, columns], contiguous.
            stride: columns from one line of a row's image to the next, or 0.
            negative: how many values lie below 0.
            positive: how many lie above.

        Raises:
            NativeFormatError: a level is beyond them.
        """
        assert levels.flags.c_contiguous
        rows, columns = levels.shape
        error = c.CError()
        c.check(
            self._library.sigdca_coder_levels(
                self._coder,
                levels.ctypes.data,
                rows,
                columns,
                stride,
                negative,
                positive,
                ctypes.byref(error),
            ),
            error,
        )

    def sparse(
        self,
        places: NDArray[np.uint32],
        levels: NDArray[np.int32],
        size: int,
        negative: int,
        positive: int,
    ) -> None:
        """Writes a chunk's levels that are not zero.

        Args:
            places: ascending, below `size`, contiguous.
            levels: as many, contiguous.
            size: the chunk's number of weights.
            negative: how many values lie below 0.
            positive: how many lie above.
        """
        assert places.flags.c_contiguous
        assert levels.flags.c_contiguous
        error = c.CError()
        c.check(
            self._library.sigdca_coder_sparse(
                self._coder,
                places.ctypes.data,
                levels.ctypes.data,
                len(places),
                size,
                negative,
                positive,
                ctypes.byref(error),
            ),
            error,
        )

    def sparse_weights(
        self,
        count: int,
        values: NDArray[np.float32],
        negative: int,
        positive: int,
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        where: str,
    ) -> None:
        """Reads a chunk's levels that are not zero.

        Args:
            count: how many there are.
            values: float32 [negative + positive], of the levels, ascending.
            negative: how many values lie below 0.
            positive: how many lie above.
            weights: where they go, contiguous.
            used: bool [negative + positive], becomes true for each that occurs.
            where: opens messages.

        Raises:
            NativeFormatError: a weight lies behind the last, or a level beyond the values.
        """
        error, chunk = c.CError(), _chunk(values, negative, positive, weights, used)
        c.check(
            self._library.sigdca_coder_sparse_weights(
                self._coder, count, chunk, where.encode(), ctypes.byref(error)
            ),
            error,
        )

    def finish(self) -> bytes:
        """Ends the stream.

        Returns:
            What an encoder has written; nothing from a decoder.

        Raises:
            NativeFormatError: a decoder's stream goes on.
        """
        data, size, error = ctypes.c_void_p(), ctypes.c_size_t(), c.CError()
        c.check(
            self._library.sigdca_coder_finish(
                self._coder, ctypes.byref(data), ctypes.byref(size), ctypes.byref(error)
            ),
            error,
        )
        return b"" if self._stream is not None else ctypes.string_at(data, size.value)


class ValueFinder:
    """The values of weights that are given piece by piece.

    Attributes:
        values: float32 [k], those that are not zero, as they were found.
    """

    def __init__(self) -> None:
        """Nothing is known yet.

        Raises:
            EngineError: the library is not there.
        """
        self._library = c.codec_library()
        self._values = np.empty(MAX_VALUES + 1, np.float32)
        self._count = ctypes.c_uint32(0)

    @property
    def values(self) -> NDArray[np.float32]:
        """Those so far."""
        return self._values[: self._count.value]

    def find(
        self, weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16]] | None:
        """Where weights are not zero, and which value each of them has.

        Args:
            weights: flat, contiguous, without NaN.

        Returns:
            Places, ascending, and as many indices of `values`; None: there are over 65,535 values.
        """
        assert weights.flags.c_contiguous
        places = np.empty(len(weights) + 1, np.uint32)
        ids = np.empty(len(weights), np.uint16)
        count, error = ctypes.c_size_t(), c.CError()
        status = self._library.sigdca_find_values(
            weights.ctypes.data,
            len(weights),
            self._values.ctypes.data,
            ctypes.byref(self._count),
            places.ctypes.data,
            ids.ctypes.data,
            ctypes.byref(count),
            ctypes.byref(error),
        )
        if status == _LIMIT:
            return None
        c.check(status, error)
        return places[: count.value].copy(), ids[: count.value].copy()


def assign_levels(
    weights: NDArray[np.float32], stride: int, negative: int, positive: int, rate_lambda: float
) -> tuple[NDArray[np.int32], float]:
    """Levels of the least squared error plus `rate_lambda` times the bits that they take.

    Args:
        weights: float32 [rows, columns] in units of the step, contiguous.
        stride: columns from one line of a row's image to the next, or 0.
        negative: how many values lie below 0.
        positive: how many lie above.
        rate_lambda: what a bit costs, in squared steps.

    Returns:
        int32 [rows, columns], and the bits of all.

    Raises:
        EngineError: the library is not there.
    """
    library = c.codec_library()
    assert weights.flags.c_contiguous
    rows, columns = weights.shape
    levels = np.zeros_like(weights, np.int32)
    bits, error = ctypes.c_double(), c.CError()
    c.check(
        library.sigdca_assign_levels(
            weights.ctypes.data,
            levels.ctypes.data,
            rows,
            columns,
            stride,
            negative,
            positive,
            rate_lambda,
            ctypes.byref(bits),
            ctypes.byref(error),
        ),
        error,
    )
    return levels, bits.value


def encode_rans(symbols: NDArray[np.uint8], freqs: NDArray[np.int32]) -> bytes:
    """A rANS stream.

    Args:
        symbols: uint8 [n], each of a frequency above 0.
        freqs: int32 [k] of sum 4096.

    Raises:
        EngineError: the library is not there.
    """
    library = c.codec_library()
    assert symbols.flags.c_contiguous
    assert freqs.flags.c_contiguous
    out = np.empty(16 + 2 * len(symbols), np.uint8)
    size, error = ctypes.c_size_t(), c.CError()
    c.check(
        library.sigdca_rans_encode(
            symbols.ctypes.data,
            len(symbols),
            freqs.ctypes.data,
            len(freqs),
            out.ctypes.data,
            ctypes.byref(size),
            ctypes.byref(error),
        ),
        error,
    )
    return out[: size.value].tobytes()


def decode_rans(
    chunk: memoryview,
    structure: int,
    freqs: NDArray[np.int32],
    level_freqs: NDArray[np.int32],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    used: NDArray[np.bool_],
    where: str,
) -> None:
    """Reads a chunk that is coded by rANS.

    Args:
        chunk: its bytes.
        structure: 0: a map; else the bits of a gap symbol.
        freqs: int32 [256 or 2^structure], of sum 4096.
        level_freqs: int32 [k], of sum 4096.
        values: float32 [k], ascending.
        weights: where they go, zeros before, contiguous.
        used: bool [k], becomes true for each that occurs.
        where: opens messages.

    Raises:
        EngineError: the library is not there.
        NativeFormatError: the chunk is not what it must be.
    """
    library = c.codec_library()
    content, error = np.frombuffer(chunk, np.uint8), c.CError()
    c.check(
        library.sigdca_rans_decode(
            content.ctypes.data,
            len(content),
            structure,
            freqs.ctypes.data,
            level_freqs.ctypes.data,
            _chunk(values, 0, len(values), weights, used),
            where.encode(),
            None,
            ctypes.byref(error),
        ),
        error,
    )


def _chunk(
    values: NDArray[np.float32],
    negative: int,
    positive: int,
    weights: NDArray[np.float32],
    used: NDArray[np.bool_],
) -> c.CChunk:
    """What a chunk is read into; the arrays must outlive it."""
    assert values.flags.c_contiguous
    assert weights.flags.c_contiguous
    assert used.flags.c_contiguous
    return c.CChunk(
        values.ctypes.data,
        negative,
        positive,
        weights.ctypes.data,
        len(weights),
        used.ctypes.data,
    )
