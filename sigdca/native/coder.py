"""Streams of levels by libsigdca: what `sigdca.codec` does where the library is there."""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
from numpy.typing import NDArray

from sigdca.native import library as c


class LevelCoder:
    """An arithmetic stream of plain bits and levels (sigdca/codec/SPEC.md), written or read."""

    def __init__(self, stream: bytes | None = None) -> None:
        """Opens a coder.

        Args:
            stream: what a decoder reads; None for an encoder.

        Raises:
            EngineError: the library is not there.
        """
        self._library = c.library()
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
        weakref.finalize(self, self._library.sigdca_coder_free, self._coder)

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
