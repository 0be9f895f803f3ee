"""The shared library and its C interface (include/sigdca.h), as ctypes sees it."""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from collections.abc import Callable, Mapping
from ctypes import POINTER, c_char, c_char_p, c_double, c_int, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p as handle
from pathlib import Path
from typing import Any

import sigdca.native
from sigdca.errors import EngineError, FormatError

LIBRARY = "libsigdca.so"
CODEC_LIBRARY = "libsigdca-codec.so"
FIRST_FORMAT_STATUS = 16
# What sigdca.h calls its statuses, whose numbers never change: known without either library.
_NAMES = ("ok", "invalid-argument", "out-of-memory", "io", "unsupported", "not-finite")
_FORMAT_NAMES = [
    "magic",
    "version",
    "file-length",
    "header-checksum",
    "section-table",
    "section-kind",
    "section-order",
    "section-length",
    "section-missing",
    "section-owner",
    "section-checksum",
    "varint",
    "graph-bytes",
    "operator",
    "shape",
    "limit",
    "metadata",
    "codebook",
    "value-range",
    "code-table",
    "stream-end",
    "trailing-bits",
    "symbol-count",
    "gap-bits",
    "gap-overrun",
    "gap-end",
    "level",
    "frequency",
    "rans-state",
]
_REMEDY = "install sigdca from a wheel, or with a C++ compiler and CMake"


class NativeError(EngineError):
    """The library could not do what it was asked for.

    Attributes:
        status_name: what sigdca.h calls it: `invalid-argument`, `out-of-memory`, `io`,
            `unsupported` or `not-finite`.
    """

    def __init__(self, message: str, status_name: str) -> None:
        super().__init__(message)
        self.status_name = status_name


class NativeFormatError(FormatError):
    """A container is not what it must be.

    Attributes:
        status_name: what sigdca.h calls it, such as `gap-overrun`; `sigdca.codec.errors` has a
            class for each (`GapOverrunError`).
    """

    def __init__(self, message: str, status_name: str) -> None:
        super().__init__(message)
        self.status_name = status_name


class CError(ctypes.Structure):
    """sigdca_error."""

    _fields_ = (("status", c_int), ("message", c_char * 256))


class CModelInfo(ctypes.Structure):
    """sigdca_model_info."""

    _fields_ = (
        ("input_channels", c_uint32),
        ("input_height", c_uint32),
        ("input_width", c_uint32),
        ("num_classes", c_uint32),
        ("input_scale", c_double),
        ("num_operators", c_uint32),
        ("num_tensors", c_uint32),
        ("container_bytes", c_uint64),
        ("dense_bytes", c_uint64),
        ("memory_bytes", c_uint64),
    )


class COperatorInfo(ctypes.Structure):
    """sigdca_operator_info."""

    _fields_ = (
        ("kind", c_char_p),
        ("name", c_char_p),
        ("output_shape", c_uint32 * 3),
        ("num_weights", c_uint64),
        ("bytes", c_uint64),
    )


class CSessionOptions(ctypes.Structure):
    """sigdca_session_options."""

    _fields_ = (
        ("profile", c_int),
        ("threads", c_uint32),
        ("max_batch", c_uint32),
        ("isa", c_char_p),
    )


class CSessionInfo(ctypes.Structure):
    """sigdca_session_info."""

    _fields_ = (
        ("isa", c_char_p),
        ("profile", c_int),
        ("threads", c_uint32),
        ("max_batch", c_uint32),
        ("weight_bytes", c_uint64),
        ("activation_bytes", c_uint64),
        ("peak_bytes", c_uint64),
    )


class CLayerInfo(ctypes.Structure):
    """sigdca_layer_info."""

    _fields_ = (
        ("name", c_char_p),
        ("kernel", c_char_p),
        ("num_nonzero", c_uint64),
        ("weight_bytes", c_uint64),
    )


class CChunk(ctypes.Structure):
    """sigdca_chunk."""

    _fields_ = (
        ("values", handle),
        ("negative", c_uint32),
        ("positive", c_uint32),
        ("weights", handle),
        ("size", c_uint32),
        ("used", handle),
    )


# Every function's arguments and result. What takes no status as its result cannot fail.
_FUNCTIONS = {
    "sigdca_status_name": ((c_int,), c_char_p),
    "sigdca_model_open_memory": (
        (handle, c_size_t, handle, POINTER(handle), POINTER(CError)),
        c_int,
    ),
    "sigdca_model_open_file": ((c_char_p, handle, POINTER(handle), POINTER(CError)), c_int),
    "sigdca_model_close": ((handle,), None),
    "sigdca_model_get_info": ((handle, POINTER(CModelInfo)), None),
    "sigdca_model_get_operator": ((handle, c_uint32, POINTER(COperatorInfo)), c_int),
    "sigdca_session_create": (
        (handle, POINTER(CSessionOptions), POINTER(handle), POINTER(CError)),
        c_int,
    ),
    "sigdca_session_close": ((handle,), None),
    "sigdca_session_run": ((handle, handle, c_size_t, handle, handle), c_int),
    "sigdca_session_get_info": ((handle, POINTER(CSessionInfo)), None),
    "sigdca_session_get_layer": ((handle, c_uint32, POINTER(CLayerInfo)), c_int),
    "sigdca_isa_name": ((c_uint32,), c_char_p),
}

# The same of sigdca_codec.h.
_CODEC_FUNCTIONS = {
    "sigdca_coder_create": (
        (handle, c_size_t, handle, POINTER(handle), POINTER(CError)),
        c_int,
    ),
    "sigdca_coder_free": ((handle,), None),
    "sigdca_coder_plain": ((handle, c_uint32, POINTER(c_uint32), POINTER(CError)), c_int),
    "sigdca_coder_levels": (
        (handle, handle, c_uint32, c_uint32, c_uint32, c_uint32, c_uint32, POINTER(CError)),
        c_int,
    ),
    "sigdca_coder_sparse": (
        (handle, handle, handle, c_size_t, c_uint32, c_uint32, c_uint32, POINTER(CError)),
        c_int,
    ),
    "sigdca_coder_sparse_weights": (
        (handle, c_uint32, POINTER(CChunk), c_char_p, POINTER(CError)),
        c_int,
    ),
    "sigdca_find_values": (
        (
            *(handle, c_size_t, handle, POINTER(c_uint32), handle, handle),
            *(POINTER(c_size_t), POINTER(CError)),
        ),
        c_int,
    ),
    "sigdca_assign_levels": (
        (
            *(handle, handle, c_uint32, c_uint32, c_uint32, c_uint32, c_uint32, c_double),
            *(POINTER(c_double), POINTER(CError)),
        ),
        c_int,
    ),
    "sigdca_rans_encode": (
        (handle, c_size_t, handle, c_uint32, handle, POINTER(c_size_t), POINTER(CError)),
        c_int,
    ),
    "sigdca_rans_decode": (
        (
            *(handle, c_size_t, c_uint32, handle, handle, POINTER(CChunk), c_char_p, handle),
            POINTER(CError),
        ),
        c_int,
    ),
    "sigdca_coder_finish": (
        (handle, POINTER(handle), POINTER(c_size_t), POINTER(CError)),
        c_int,
    ),
}


def finalize(owner: object, release: Callable[..., None], *handles: Any) -> None:
    """Has a handle released when its owner goes, but not at the interpreter's exit.

    A daemon thread may be inside the library then; the system takes all back anyway.
    """
    weakref.finalize(owner, release, *handles).atexit = False


def library_path() -> Path:
    """Where the library is: `SIGDCA_LIBRARY`, else `lib/` in this package.

    Raises:
        EngineError: it is in neither.
    """
    given = os.environ.get("SIGDCA_LIBRARY")
    if given and not Path(given).is_file():
        raise EngineError(f"native: {LIBRARY} is not in SIGDCA_LIBRARY ({given}); {_REMEDY}")
    return Path(given) if given else _in_package(LIBRARY)


def _in_package(name: str) -> Path:
    # An editable install has two folders: the source tree's, and that of what was built.
    paths = [Path(folder) / "lib" / name for folder in sigdca.native.__path__]
    for path in paths:
        if path.is_file():
            return path
    raise EngineError(f"native: {name} is not in sigdca/native/lib ({paths[0]}); {_REMEDY}")


@functools.cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises:
        EngineError: it is not there, or cannot be loaded.
    """
    return _load(library_path(), _FUNCTIONS)


@functools.cache
def codec_library() -> ctypes.CDLL:
    """The library that writes containers and takes them apart (sigdca_codec.h), loaded once.

    Raises:
        EngineError: it is not there, or cannot be loaded.
    """
    return _load(_in_package(CODEC_LIBRARY), _CODEC_FUNCTIONS)


def _load(path: Path, functions: Mapping[str, Any]) -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL(str(path))
        for name, (arguments, result) in functions.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError) as error:
        raise EngineError(f"native: {path} cannot be loaded: {error}") from error
    return loaded


def check(status: int, error: CError) -> None:
    """Raises what a status stands for.

    Raises:
        NativeFormatError: it is a container's.
        NativeError: it is another but 0.
    """
    if status == 0:
        return
    message = error.message.decode(errors="replace")
    if status >= FIRST_FORMAT_STATUS:
        raise NativeFormatError(message, _FORMAT_NAMES[status - FIRST_FORMAT_STATUS])
    raise NativeError(message, _NAMES[status])
