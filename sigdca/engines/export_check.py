"""The back-check of an export: another engine must give our own result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sigdca.errors import EngineError

if TYPE_CHECKING:
    from sigdca.codec import Graph

NUM_IMAGES = 8
TOLERANCE = 1e-4  # relative to the largest logit: float32 sums in another order, no more


def check_export(
    onnx_model: bytes, graph: Graph, tensors: Mapping[str, NDArray[np.float32]]
) -> float:
    """Runs an exported model in onnxruntime and the graph in torch, on random images.

    Returns:
        The largest difference between their logits, relative to the largest logit.

    Raises:
        EngineError: onnxruntime refuses the model, or the results differ by more than 1e-4.
    """
    from sigdca.engines.onnxruntime import OnnxRuntimeEngine
    from sigdca.engines.torch import TorchEngine

    shape = (NUM_IMAGES, *graph.input_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ours = TorchEngine(graph, tensors, 1).logits(images)
    theirs = OnnxRuntimeEngine(onnx_model, 1).logits(images)
    scale = float(np.abs(ours).max()) or 1.0
    difference = float(np.abs(ours - theirs).max()) / scale
    if not difference <= TOLERANCE:
        raise EngineError(
            f"export: onnxruntime's logits differ from ours by {difference:.1e} of the largest "
            f"logit; at most {TOLERANCE:.0e} is rounding"
        )
    return difference
