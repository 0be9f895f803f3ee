"""The ONNX Runtime engine, with the same settings on a server, in an emulator and on a board."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sigdca.engines.agreement import Logits, check_logits
from sigdca.errors import EngineError


class OnnxRuntimeEngine:
    """Executes an ONNX model on the CPU, one image at a time.

    Batch 1 is what a real-time target runs, and makes an image's logits independent of the images
    beside it: the hash of a data set is the same however it is cut into calls and processes.

    Attributes:
        name: `onnxruntime`.
        batch_size: 1.
        version: the library's.
    """

    name = "onnxruntime"
    batch_size = 1

    def __init__(self, model: bytes | str, threads: int = 1) -> None:
        """Opens a session.

        Args:
            model: the content of an ONNX file, or its path; one input, float32 [N, C, H, W] of raw
                pixel values, and one output, float32 [N, K].
            threads: on how many threads an operator computes.

        Raises:
            EngineError: ONNX Runtime cannot load the model, or it has another interface.
        """
        self.version: str = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 3  # errors only: they are raised anyway
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's exceptions have no base class of their own
            raise EngineError(f"onnxruntime: model not loaded: {_line(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise EngineError(
                "onnxruntime: the model must have one float32 input and one output, got "
                f"{len(inputs)} and {len(outputs)}"
            )
        self._input: str = inputs[0].name
        self._shape: tuple[object, ...] = tuple(inputs[0].shape[1:])

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `Engine.logits`."""
        self._check(images)
        rows = [self._run(image) for image in images]
        if not rows:
            raise EngineError("onnxruntime: no images given")
        # A wrong result must not pass by being joined to others: see that each is one row first.
        shapes = {row.shape for row in rows}
        if len(shapes) > 1:
            raise EngineError(f"onnxruntime: logits of several shapes: {sorted(shapes)}")
        check_logits(rows[0], 1, "onnxruntime")
        return check_logits(np.concatenate(rows), len(images), "onnxruntime")

    def _run(self, image: NDArray[np.uint8]) -> Logits:
        pixels = image[np.newaxis].astype(np.float32)
        try:
            row: Logits = self._session.run(None, {self._input: pixels})[0]
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime: cannot run the model: {_line(error)}") from error
        return row

    def _check(self, images: NDArray[np.uint8]) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self._shape:
            raise EngineError(
                f"onnxruntime: images must be uint8 [n, {', '.join(map(str, self._shape))}], got "
                f"{images.dtype} {list(images.shape)}"
            )


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
