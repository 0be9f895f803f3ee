"""Engines: what executes a graph. Each is loaded when it is asked for, and not before.

Importing this package needs numpy alone, so that a board without torch can use its own engine.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.agreement import (
    Comparison,
    Counts,
    Logits,
    NotFiniteError,
    check_logits,
    compare,
    evaluate,
    logits_sha256,
)
from sigdca.errors import EngineError, JobError, extra_of

if TYPE_CHECKING:  # the codec is not needed where a model comes as ONNX
    from sigdca.codec.graph import Graph

__all__ = [
    "ENGINES",
    "Comparison",
    "Counts",
    "Engine",
    "Logits",
    "NotFiniteError",
    "check_logits",
    "compare",
    "container_engine",
    "evaluate",
    "logits_sha256",
    "open_engine",
    "to_int8",
    "to_onnx",
    "to_openvino",
]

Tensors = Mapping[str, NDArray[np.float32]]


class Engine(Protocol):
    """What executes a network.

    Attributes:
        name: its key in `ENGINES`.
        batch_size: images that it computes together. Cutting the images at multiples of it, and
            nowhere else, gives the same bits as one call; 1 means wherever they are cut.
    """

    name: str
    batch_size: int

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Runs the network.

        Args:
            images: uint8 [n, C, H, W], raw pixel values.

        Returns:
            float32 [n, K], finite.

        Raises:
            EngineError: the images do not fit the network, or the result is not what it must be.
        """
        ...


_NOT_INT8 = (
    "openvino-int8: runs only what was made int8 on images of the job's data; "
    "sigdca export --to openvino --int8 makes it"
)


def _native(graph: Graph, tensors: Tensors, threads: int) -> Engine:
    from sigdca.engines.native import NativeEngine

    return NativeEngine.of_network(graph, tensors, threads)


def _native_of(container: bytes, threads: int) -> Engine:
    from sigdca.engines.native import NativeEngine

    return NativeEngine(container, threads)


def _torch(graph: Graph, tensors: Tensors, threads: int) -> Engine:
    from sigdca.engines.torch import TorchEngine

    return TorchEngine(graph, tensors, threads)


def _onnxruntime(graph: Graph, tensors: Tensors, threads: int) -> Engine:
    from sigdca.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(to_onnx(graph, tensors), threads)


def _openvino(graph: Graph, tensors: Tensors, threads: int) -> Engine:
    from sigdca.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(to_onnx(graph, tensors), threads)


def _openvino_int8(graph: Graph, tensors: Tensors, threads: int) -> Engine:
    raise EngineError(_NOT_INT8)


def _openvino_int8_of(model: bytes, threads: int) -> Engine:
    from sigdca.engines.openvino import OpenVinoEngine, is_packed

    if not is_packed(model):
        raise EngineError(_NOT_INT8)
    return OpenVinoEngine(model, threads)


def _tensorrt(fp16: bool) -> Callable[[Graph, Tensors, int], Engine]:
    def opened(graph: Graph, tensors: Tensors, threads: int) -> Engine:
        from sigdca.engines.tensorrt import TensorRtEngine

        return TensorRtEngine(to_onnx(graph, tensors), graph.input_shape, fp16=fp16)

    return opened


ENGINES: dict[str, Callable[[Graph, Tensors, int], Engine]] = {
    "native": _native,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "openvino-int8": _openvino_int8,
    "tensorrt": _tensorrt(fp16=False),
    "tensorrt-fp16": _tensorrt(fp16=True),
    "torch": _torch,
}

# Those that run a file as it is, where they are given one.
_OF_FILE: dict[str, Callable[[bytes, int], Engine]] = {
    "native": _native_of,
    "openvino-int8": _openvino_int8_of,
}


def open_engine(
    name: str,
    graph: Graph,
    tensors: Tensors,
    threads: int = 1,
    container: bytes | None = None,
) -> Engine:
    """Makes an engine ready to run a network.

    Args:
        name: a key of `ENGINES`.
        graph: the network's operators and shapes.
        tensors: its float32 weights, named as in the graph.
        threads: on how many threads it computes. Other numbers may give other last bits, but not
            of `native`.
        container: what the network was read from, for `native`, which then needs no tensors; for
            `openvino-int8` what `sigdca.engines.openvino_int8.quantized` gave.

    Raises:
        JobError: the engine is unknown, or cannot have so many threads.
        EngineError: it is not installed, or refuses the network.
    """
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known engines are {', '.join(ENGINES)}"
        raise JobError(f"engine: unknown engine '{name}'; {hint}")
    if threads < 1:
        raise JobError(f"engine '{name}': threads must be at least 1, got {threads}")
    try:
        if name in _OF_FILE and container is not None:
            return _OF_FILE[name](container, threads)
        return ENGINES[name](graph, tensors, threads)
    except ModuleNotFoundError as error:
        raise _not_installed(f"engine '{name}'", error) from error


def container_engine() -> str:
    """The engine that runs a container as it is; where its library is missing, onnxruntime."""
    from sigdca.native import library_path

    try:
        library_path()
    except EngineError:
        return "onnxruntime"
    return "native"


def to_onnx(graph: Graph, tensors: Tensors) -> bytes:
    """A network as an ONNX file. See `sigdca.engines.onnx_export.to_onnx`."""
    try:
        from sigdca.engines import onnx_export
    except ModuleNotFoundError as error:
        raise _not_installed("export to ONNX", error) from error
    return onnx_export.to_onnx(graph, tensors)


def to_int8(onnx_model: bytes, images: NDArray[np.uint8], *, overflow_fix: bool = True) -> bytes:
    """A network in int8 for OpenVINO. See `sigdca.engines.openvino_int8.quantized`."""
    try:
        from sigdca.engines import openvino_int8

        return openvino_int8.quantized(onnx_model, images, overflow_fix=overflow_fix)
    except ModuleNotFoundError as error:
        raise _not_installed("int8 for OpenVINO", error) from error


def to_openvino(onnx_model: bytes) -> bytes:
    """A network as OpenVINO's files. See `sigdca.engines.openvino_int8.to_openvino`."""
    try:
        from sigdca.engines import openvino_int8
    except ModuleNotFoundError as error:
        raise _not_installed("export to OpenVINO", error) from error
    return openvino_int8.to_openvino(onnx_model)


def _not_installed(what: str, error: ModuleNotFoundError) -> EngineError:
    missing = (error.name or "a library").partition(".")[0]
    extra = extra_of(missing) or "edge"
    return EngineError(f"{what}: {missing} is not installed; pip install 'sigdca[{extra}]'")
