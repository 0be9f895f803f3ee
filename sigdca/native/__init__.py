"""Runs containers without unpacking them: libsigdca (include/sigdca.h) through ctypes.

A container that is not sound raises `NativeFormatError`, a `FormatError` whose `status_name` is
that of sigdca.h (`gap-overrun`); `sigdca.codec.errors`, which this package may not import, has a
class of each name (`GapOverrunError`). All else raises `NativeError`, an `EngineError`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.native import library as c
from sigdca.native.library import NativeError, NativeFormatError, library_path

__all__ = [
    "PROFILES",
    "LayerInfo",
    "Model",
    "ModelInfo",
    "NativeError",
    "NativeFormatError",
    "OperatorInfo",
    "Session",
    "SessionInfo",
    "isas",
    "library_path",
]

PROFILES = ("exact", "fast", "int8")  # in sigdca.h's order


@dataclass(frozen=True)
class ModelInfo:
    """A model: sigdca_model_info."""

    input_shape: tuple[int, int, int]
    input_scale: float
    num_classes: int
    num_operators: int
    num_tensors: int
    container_bytes: int
    dense_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class OperatorInfo:
    """One operator of a model: sigdca_operator_info."""

    kind: str
    name: str
    output_shape: tuple[int, int, int]
    num_weights: int
    bytes: int


@dataclass(frozen=True)
class SessionInfo:
    """A session: sigdca_session_info."""

    isa: str
    profile: str
    threads: int
    max_batch: int
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class LayerInfo:
    """A prepared layer: sigdca_layer_info."""

    name: str
    kernel: str
    num_nonzero: int
    weight_bytes: int


def isas() -> tuple[str, ...]:
    """The instruction sets that the library has and this processor can run, best first."""
    names: list[str] = []
    while (name := c.library().sigdca_isa_name(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


class Model:
    """An opened container.

    Attributes:
        info: what it holds.
    """

    def __init__(self, source: bytes | bytearray | memoryview | str | Path) -> None:
        """Opens a container; its checksums are verified, its weights not yet decoded.

        Args:
            source: the container's bytes, or the path of its file, which must not change while
                the model is open.

        Raises:
            NativeFormatError: it is not sound.
            NativeError: the file cannot be read.
        """
        lib, error, handle = c.library(), c.CError(), ctypes.c_void_p()
        if isinstance(source, str | Path):
            status = lib.sigdca_model_open_file(
                str(source).encode(errors="surrogateescape"),
                None,
                ctypes.byref(handle),
                ctypes.byref(error),
            )
        else:
            # Bytes cannot change, and are kept as long as the model.
            self._data = bytes(source)
            status = lib.sigdca_model_open_memory(
                ctypes.cast(ctypes.c_char_p(self._data), ctypes.c_void_p),
                len(self._data),
                None,
                ctypes.byref(handle),
                ctypes.byref(error),
            )
        c.check(status, error)
        self.handle = handle
        c.finalize(self, lib.sigdca_model_close, handle)
        self.info = self._info()

    def _info(self) -> ModelInfo:
        info = c.CModelInfo()
        c.library().sigdca_model_get_info(self.handle, ctypes.byref(info))
        return ModelInfo(
            (info.input_channels, info.input_height, info.input_width),
            info.input_scale,
            info.num_classes,
            info.num_operators,
            info.num_tensors,
            info.container_bytes,
            info.dense_bytes,
            info.memory_bytes,
        )

    def operators(self) -> list[OperatorInfo]:
        """The operators in the order in which they run."""
        result, info = [], c.COperatorInfo()
        for index in range(self.info.num_operators):
            c.library().sigdca_model_get_operator(self.handle, index, ctypes.byref(info))
            channels, height, width = info.output_shape
            result.append(
                OperatorInfo(
                    info.kind.decode(),
                    info.name.decode(),
                    (channels, height, width),
                    info.num_weights,
                    info.bytes,
                )
            )
        return result


class Session:
    """A model made ready to run. One thread at a time may use it; no child process may.

    Attributes:
        model: what it runs.
        info: how.
    """

    def __init__(
        self,
        model: Model,
        *,
        profile: str = "exact",
        threads: int = 1,
        max_batch: int = 1,
        isa: str | None = None,
    ) -> None:
        """Decodes the weights and reserves the memory of a run.

        Args:
            model: the container.
            profile: `exact`, `fast` or `int8` (see sigdca.h).
            threads: 1 to 64.
            max_batch: images computed together, 1 to 256.
            isa: one of `isas()`; None: that of the environment variable `SIGDCA_ISA`, else the
                best.

        Raises:
            NativeFormatError: the weights are not sound.
            NativeError: an argument is wrong, or there is not enough memory.
        """
        if profile not in PROFILES:
            raise NativeError(
                f"session: profile must be one of {', '.join(PROFILES)}, got {profile!r}",
                "invalid-argument",
            )
        for name, number in (("threads", threads), ("max_batch", max_batch)):
            if not 1 <= number < 2**32:
                raise NativeError(
                    f"session: {name} must be at least 1, got {number}", "invalid-argument"
                )
        error, handle = c.CError(), ctypes.c_void_p()
        options = c.CSessionOptions(
            PROFILES.index(profile), threads, max_batch, None if isa is None else isa.encode()
        )
        c.check(self._create(model, options, handle, error), error)
        self.model = model
        self._handle = handle
        c.finalize(self, _close_session, handle, model)
        self.info = self._info()

    def _create(
        self,
        model: Model,
        options: c.CSessionOptions,
        handle: ctypes.c_void_p,
        error: c.CError,
    ) -> int:
        status: int = c.library().sigdca_session_create(
            model.handle, ctypes.byref(options), ctypes.byref(handle), ctypes.byref(error)
        )
        return status

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits of any number of images.

        Args:
            images: uint8 [n, channels, height, width], raw pixels.

        Returns:
            float32 [n, num_classes].

        Raises:
            NativeError: the images do not fit, or a logit is not finite.
        """
        images = np.ascontiguousarray(images)
        logits = np.empty((len(images), self.model.info.num_classes), np.float32)
        self.bind(images, logits)()
        return logits

    def bind(self, images: NDArray[np.uint8], logits: NDArray[np.float32]) -> Callable[[], None]:
        """A call without arguments that runs what lies in `images` then, into `logits`.

        For real time: it spends a fraction of a microsecond outside the library. Both arrays must
        be C-contiguous, and are kept by the call.

        Raises:
            NativeError: they do not fit the model; or, when called, as `run`.
        """
        shape = self.model.info.input_shape
        fits = images.dtype == np.uint8 and images.shape[1:] == shape
        if not fits or not images.flags.c_contiguous:
            raise NativeError(
                f"run: images must be contiguous uint8 [n, {', '.join(map(str, shape))}], got "
                f"{images.dtype} {list(images.shape)}",
                "invalid-argument",
            )
        wanted = (len(images), self.model.info.num_classes)
        sound = logits.dtype == np.float32 and logits.flags.c_contiguous and logits.flags.writeable
        if not sound or logits.shape != wanted:
            raise NativeError(
                f"run: logits must be contiguous, writable float32 {list(wanted)}, got "
                f"{logits.dtype} {list(logits.shape)}",
                "invalid-argument",
            )
        return _bound(self, images, logits)

    def layers(self) -> list[LayerInfo]:
        """The conv and fc layers as they were prepared."""
        result: list[LayerInfo] = []
        info = c.CLayerInfo()
        while c.library().sigdca_session_get_layer(self._handle, len(result), info) == 0:
            result.append(
                LayerInfo(
                    info.name.decode(), info.kernel.decode(), info.num_nonzero, info.weight_bytes
                )
            )
        return result

    def _info(self) -> SessionInfo:
        info = c.CSessionInfo()
        c.library().sigdca_session_get_info(self._handle, ctypes.byref(info))
        return SessionInfo(
            info.isa.decode(),
            PROFILES[info.profile],
            info.threads,
            info.max_batch,
            info.weight_bytes,
            info.activation_bytes,
            info.peak_bytes,
        )


def _bound(
    session: Session, images: NDArray[np.uint8], logits: NDArray[np.float32]
) -> Callable[[], None]:
    error = c.CError()
    # A function of its own without argument types: ctypes then takes objects as they are, with no
    # check a call.
    run = c.library()["sigdca_session_run"]
    handle, num_images = session._handle, ctypes.c_size_t(len(images))
    pixels, result = ctypes.c_void_p(images.ctypes.data), ctypes.c_void_p(logits.ctypes.data)
    place = ctypes.c_void_p(ctypes.addressof(error))

    def call() -> None:
        if run(handle, pixels, num_images, result, place):
            c.check(error.status, error)

    call.__dict__["keeps"] = (session, images, logits)
    return call


def _close_session(handle: ctypes.c_void_p, model: Model) -> None:
    """A session ends before the model that it runs."""
    c.library().sigdca_session_close(handle)
