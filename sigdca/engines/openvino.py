"""The OpenVINO engine on the CPU: float32 from ONNX, or a model that NNCF has made int8."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from sigdca.engines.agreement import Logits, check_logits
from sigdca.errors import EngineError

GRAPH, WEIGHTS = "model.xml", "model.bin"  # OpenVINO's own two files
MAX_MODEL_BYTES = 2**31  # unpacked

# Nothing that depends on what else the machine does: the same bits in every call.
_SETTINGS: dict[str, Any] = {
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",
    "INFERENCE_PRECISION_HINT": "f32",  # a server with AMX would take bfloat16
    "EXECUTION_MODE_HINT": "ACCURACY",
}


class OpenVinoEngine:
    """Executes a model on the CPU, one image at a time.

    int8 models are executed in whatever way the processor has: with VNNI sums of products are
    whole, before it they saturate in 16 bits (see `openvino_int8`).

    Attributes:
        name: `openvino`.
        batch_size: 1, for the reason of `OnnxRuntimeEngine`'s.
        version: the library's.
    """

    name = "openvino"
    batch_size = 1

    def __init__(self, model: bytes | str, threads: int = 1) -> None:
        """Compiles a model.

        Args:
            model: the content of an ONNX file or of a zip of `pack`, or such a file's path; one
                input, [N, C, H, W] of raw pixel values, and one output, [N, K].
            threads: on how many threads it computes.

        Raises:
            EngineError: OpenVINO cannot load the model, or it has another interface.
        """
        self.version: str = openvino.get_version().partition("-")[0]
        if isinstance(model, str):
            model = _read(model)
        try:
            found = openvino_model(model)
            if len(found.inputs) != 1 or len(found.outputs) != 1:
                raise EngineError(
                    "openvino: the model must have one input and one output, got "
                    f"{len(found.inputs)} and {len(found.outputs)}"
                )
            found.reshape([1, *list(found.input().get_partial_shape())[1:]])
            settings = _SETTINGS | {"INFERENCE_NUM_THREADS": str(threads)}
            compiled = openvino.Core().compile_model(found, "CPU", settings)
            self._shape = tuple(int(size) for size in compiled.input().shape)
            self._request = compiled.create_infer_request()
        except EngineError:
            raise
        except Exception as error:  # the library's exceptions have no base class of their own
            raise EngineError(f"openvino: model not loaded: {_line(error)}") from error

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `Engine.logits`."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self._shape[1:]:
            raise EngineError(
                f"openvino: images must be uint8 [n, {', '.join(map(str, self._shape[1:]))}], got "
                f"{images.dtype} {list(images.shape)}"
            )
        if len(images) == 0:
            raise EngineError("openvino: no images given")
        # OpenVINO on ARM was seen to give results of another shape without an error.
        rows = [check_logits(self._run(image), 1, self.name) for image in images]
        if len({row.shape for row in rows}) > 1:
            raise EngineError("openvino: logits of several shapes")
        return check_logits(np.concatenate(rows), len(images), self.name)

    def _run(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        pixels = image[np.newaxis].astype(np.float32)
        try:
            result = self._request.infer([pixels])[0]
        except Exception as error:  # as above
            raise EngineError(f"openvino: cannot run the model: {_line(error)}") from error
        return np.array(result)  # the request's own memory is used again


def openvino_model(content: bytes) -> Any:
    """A model of OpenVINO's from an ONNX file's content or a zip of `pack`.

    Raises:
        EngineError: it is a damaged zip.
    """
    if is_packed(content):
        graph, weights = unpack(content)
        return openvino.Core().read_model(model=graph, weights=weights)
    return openvino.Core().read_model(model=io.BytesIO(content))


def is_packed(content: bytes) -> bool:
    """Whether it is a zip of `pack`, and not an ONNX file."""
    return content[:4] == b"PK\3\4"


def pack(graph: bytes, weights: bytes) -> bytes:
    """OpenVINO's two files as one; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in ((GRAPH, graph), (WEIGHTS, weights)):
            file.writestr(zipfile.ZipInfo(name), content)  # with no time of its own
    return buffer.getvalue()


def unpack(content: bytes) -> tuple[bytes, bytes]:
    """The two files that `pack` joined.

    Raises:
        EngineError: they are not there, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            size = sum(file.getinfo(name).file_size for name in (GRAPH, WEIGHTS))
            if size > MAX_MODEL_BYTES:
                raise EngineError(
                    f"openvino: {size} bytes unpacked, a model has at most {MAX_MODEL_BYTES}"
                )
            return file.read(GRAPH), file.read(WEIGHTS)
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise EngineError(f"openvino: not a packed model: {_line(error)}") from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise EngineError(f"openvino: {path}: cannot be read: {error.strerror}") from error


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
