"""What every engine asks of a network before it takes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.graph import Graph, expected_tensors, infer_shapes
from sigdca.errors import EngineError, FormatError


def check_network(graph: Graph, tensors: Mapping[str, NDArray[np.float32]], where: str) -> None:
    """Makes sure that the graph's tensors are there, and that its output is logits.

    Args:
        graph: the network.
        tensors: its weights; what no layer needs (a state_dict's step counters) is ignored.
        where: the engine's name, for the message.

    Raises:
        EngineError: the graph is not sound, its output is not one vector, or a tensor is missing,
            of another shape or not float32.
    """
    try:
        shapes = infer_shapes(graph)
        expected = expected_tensors(graph)
    except FormatError as error:
        raise EngineError(f"{where}: {error}") from error
    if len(shapes[-1]) != 1:
        raise EngineError(f"{where}: the network's output must be one vector, got {shapes[-1]}")
    for name, shape in expected.items():
        if name not in tensors:
            raise EngineError(f"{where}: tensor '{name}' is missing")
        got = tensors[name]
        if got.shape != tuple(shape) or got.dtype != np.float32:
            raise EngineError(
                f"{where}: tensor '{name}' must be float32 {list(shape)}, got {got.dtype} "
                f"{list(got.shape)}"
            )
