"""The torch engine: a graph run operator by operator, in the order in which it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sigdca.codec.graph import Graph, Op
from sigdca.engines.agreement import Logits, check_logits
from sigdca.engines.network import check_network
from sigdca.errors import EngineError

Run: TypeAlias = Callable[[Sequence[Tensor], Mapping[str, Any], Mapping[str, Tensor]], Tensor]


class TorchEngine:
    """Executes a graph by torch's functions on the CPU.

    Attributes:
        name: `torch`.
        batch_size: images computed together: enough to be fast, few enough that the maps of a
            VGG-16 fit into 1 GB.
    """

    name = "torch"
    batch_size = 25

    def __init__(
        self, graph: Graph, tensors: Mapping[str, NDArray[np.float32]], threads: int = 1
    ) -> None:
        """Copies the weights.

        Args:
            graph: the network.
            tensors: float32 weights named `<layer>.weight` and so on, in torch's layouts.
            threads: on how many threads an operator computes.

        Raises:
            EngineError: a tensor is missing or of another shape.
        """
        check_network(graph, tensors, "torch")
        self._graph = graph
        self._threads = threads
        self._weights = [_weights_of(op, tensors) for op in graph.ops]
        self._last_use = _last_uses(graph)

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `Engine.logits`."""
        shape = self._graph.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) == 0:
            raise EngineError(
                f"torch: images must be uint8 [n, {', '.join(map(str, shape))}], got "
                f"{images.dtype} {list(images.shape)}"
            )
        size = self.batch_size
        with torch.inference_mode(), threads(self._threads):
            parts = [
                self._run(images[start : start + size]).numpy()
                for start in range(0, len(images), size)
            ]
        return check_logits(np.concatenate(parts), len(images), "torch")

    def _run(self, images: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(images.astype(np.float32))
        return forward(self._graph, self._weights, pixels, self._last_use)


def forward(
    graph: Graph,
    weights: Sequence[Mapping[str, Tensor]],
    pixels: Tensor,
    done_after: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> Tensor:
    """Runs a graph; gradients reach the weights that ask for them.

    Args:
        graph: the network.
        weights: each operator's tensors by their last names (`weight`, `bias`, ...).
        pixels: float32 [n, C, H, W], raw pixel values.
        done_after: after the operator of a number (from 1), the values to give back.

    Returns:
        float32 [n, K], the logits.
    """
    values = {0: pixels * graph.input_scale}
    result = values[0]
    for number, (op, own) in enumerate(zip(graph.ops, weights, strict=True), 1):
        result = _OPERATORS[op.kind]([values[i] for i in op.inputs], op.attrs, own)
        values[number] = result
        for done in done_after.get(number, ()):
            del values[done]
    return result


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch's thread count is the process's own: put it back as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _weights_of(op: Op, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    prefix = f"{op.name}."
    parts = ("weight", "bias", "running_mean", "running_var") if op.name else ()
    return {
        part: torch.from_numpy(np.array(tensors[prefix + part], dtype=np.float32))
        for part in parts
        if prefix + part in tensors
    }


def _last_uses(graph: Graph) -> dict[int, list[int]]:
    """For each operator's value, the values that nobody reads after it: memory to give back."""
    last: dict[int, int] = {}
    for number, op in enumerate(graph.ops, 1):
        last.update(dict.fromkeys(op.inputs, number))
    done: dict[int, list[int]] = {}
    for value, number in last.items():
        done.setdefault(number, []).append(value)
    return done


def _conv(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.conv2d(
        x[0], w["weight"], w.get("bias"), a["stride"], a["padding"], a["dilation"], a["groups"]
    )


def _fc(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.linear(x[0], w["weight"], w.get("bias"))


def _max_pool(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.max_pool2d(
        x[0], a["kernel"], a["stride"], a["padding"], ceil_mode=bool(a["ceil"])
    )


def _avg_pool(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.avg_pool2d(
        x[0], a["kernel"], a["stride"], a["padding"], bool(a["ceil"]), bool(a["include_pad"])
    )


def _lrn(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.local_response_norm(x[0], a["size"], a["alpha"], a["beta"], a["k"])


def _batch_norm(x: Sequence[Tensor], a: Mapping[str, Any], w: Mapping[str, Tensor]) -> Tensor:
    return functional.batch_norm(
        x[0], w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=a["eps"]
    )


_OPERATORS: Mapping[str, Run] = {
    "conv": _conv,
    "fc": _fc,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": lambda x, a, w: x[0].mean(dim=(2, 3), keepdim=True),
    "relu": lambda x, a, w: functional.relu(x[0]),
    "relu6": lambda x, a, w: functional.relu6(x[0]),
    "flatten": lambda x, a, w: torch.flatten(x[0], 1),
    "softmax": lambda x, a, w: functional.softmax(x[0], dim=1),
    "lrn": _lrn,
    "batch_norm": _batch_norm,
    "add": lambda x, a, w: x[0] + x[1],
    "concat": lambda x, a, w: torch.cat(list(x), dim=1),
}
