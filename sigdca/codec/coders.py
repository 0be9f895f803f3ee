"""An arithmetic stream of plain bits and levels: by libsigdca where it is there, else in Python.

Both give the same bytes. Python's (`arithmetic.py`, `levels.py`) says what is right; the library
is some hundred times as fast.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.arithmetic import Decoder, Encoder
from sigdca.codec.errors import LevelError, TrailingBitsError
from sigdca.codec.levels import Limits, code_levels
from sigdca.errors import EngineError
from sigdca.native import NativeFormatError
from sigdca.native.coder import LevelCoder


class StreamCoder(Protocol):
    """Writes a stream, or reads one."""

    def plain(self, value: int, num_bits: int) -> int:
        """Codes bits that are all as likely as not; a reader ignores `value`."""

    def levels(self, levels: NDArray[np.int32], stride: int, limits: Limits, where: str) -> None:
        """Codes a tensor's levels; see `code_levels`."""

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

    def finish(self) -> bytes:
        return self._coder.finish() or b""


class _Native:
    def __init__(self, stream: memoryview | None, where: str) -> None:
        self._coder = LevelCoder(None if stream is None else bytes(stream))
        self._where = where

    def plain(self, value: int, num_bits: int) -> int:
        return self._coder.plain(value, num_bits)

    def levels(self, levels: NDArray[np.int32], stride: int, limits: Limits, where: str) -> None:
        try:
            self._coder.levels(levels, stride, limits.negative, limits.positive)
        except NativeFormatError as error:
            message = f"{where}: a level is beyond its tensor's values"
            raise LevelError(message) from error

    def finish(self) -> bytes:
        try:
            return self._coder.finish()
        except NativeFormatError as error:
            raise TrailingBitsError(str(error).replace("stream", self._where, 1)) from error
