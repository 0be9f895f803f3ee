"""A graph and its weights as an ONNX file that TensorRT 8.2 can read too: opset 13, float32.

The same network gives the same bytes. Semantics are torch's; where ONNX says a thing otherwise
(rounded-up pooling, its padding), the file says it in padding amounts that leave no choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sigdca.codec.graph import Graph, Op, expected_tensors, infer_shapes
from sigdca.engines.network import check_network
from sigdca.errors import EngineError

OPSET = 13  # the last that TensorRT 8.2 (JetPack 4.6) supports
IR_VERSION = 7  # the first that has opset 13
MAX_WEIGHT_BYTES = 2_000_000_000  # protobuf ends at 2**31 - 1; the graph itself needs little

Array = NDArray[Any]


@dataclass
class _Writer:
    """The file's nodes and constants as they come."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def node(self, kind: str, inputs: Sequence[str], output: str, **attrs: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attrs))

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = value
        return name


@dataclass(frozen=True)
class _Step:
    """One operator of the graph with all that its writer needs."""

    op: Op
    inputs: tuple[str, ...]
    output: str
    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    result: tuple[int, ...]
    weights: frozenset[str]

    def weight(self, *parts: str) -> list[str]:
        names = [f"{self.op.name}.{part}" for part in parts]
        return [name for name in names if name in self.weights]


def to_onnx(graph: Graph, tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Writes a network as ONNX.

    Args:
        graph: the network.
        tensors: its float32 weights; the file's initialisers bear the same names.

    Returns:
        The file's bytes. Its input is `pixels`, float32 [N, C, H, W] of raw pixel values; its
        output is `logits`, float32 [N, K].

    Raises:
        EngineError: the weights do not fit the graph, or ONNX cannot hold it (over 2 GB; a local
            response norm over an even number of channels).
    """
    check_network(graph, tensors, "onnx")
    expected = expected_tensors(graph)
    size = 4 * sum(int(np.prod(shape)) for shape in expected.values())
    if size > MAX_WEIGHT_BYTES:
        raise EngineError(
            f"onnx: {size} bytes of weights; a file holds at most {MAX_WEIGHT_BYTES}"
        )
    writer = _Writer()
    for step in _steps(graph, writer, frozenset(expected)):
        _WRITERS[step.op.kind](writer, step)
    shapes = infer_shapes(graph)
    weights = {name: np.asarray(tensors[name], dtype=np.float32) for name in expected}
    model = _model(writer, weights | writer.constants, graph.input_shape, shapes[-1])
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise EngineError(f"onnx: {str(error).splitlines()[0]}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _steps(graph: Graph, writer: _Writer, weights: frozenset[str]) -> Iterator[_Step]:
    shapes = infer_shapes(graph)
    names = {0: "pixels"}
    if graph.input_scale != 1.0:
        scale = writer.constant("input_scale", np.array(graph.input_scale, np.float32))
        writer.node("Mul", ["pixels", scale], "scaled")
        names[0] = "scaled"
    for number, op in enumerate(graph.ops, 1):
        names[number] = "logits" if number == len(graph.ops) else f"{op.kind}_{number}"
        yield _Step(
            op=op,
            inputs=tuple(names[i] for i in op.inputs),
            output=names[number],
            shapes=tuple(tuple(shapes[i]) for i in op.inputs),
            result=tuple(shapes[number]),
            weights=weights,
        )


def _model(
    writer: _Writer,
    constants: Mapping[str, Array],
    input_shape: Sequence[int],
    output_shape: Sequence[int],
) -> onnx.ModelProto:
    def value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    graph = helper.make_graph(
        writer.nodes,
        "sigdca",
        [value("pixels", input_shape)],
        [value("logits", output_shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph,
        producer_name="sigdca",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _conv(writer: _Writer, step: _Step) -> None:
    attrs: Mapping[str, Any] = step.op.attrs
    writer.node(
        "Conv",
        [step.inputs[0], *step.weight("weight", "bias")],
        step.output,
        kernel_shape=list(attrs["kernel"]),
        strides=list(attrs["stride"]),
        pads=[*attrs["padding"], *attrs["padding"]],
        dilations=list(attrs["dilation"]),
        group=attrs["groups"],
    )


def _fc(writer: _Writer, step: _Step) -> None:
    writer.node("Gemm", [step.inputs[0], *step.weight("weight", "bias")], step.output, transB=1)


def _max_pool(writer: _Writer, step: _Step) -> None:
    padding = step.op.attrs["padding"]
    assert isinstance(padding, tuple)
    window = _window(step)
    writer.node("MaxPool", step.inputs, step.output, **window, pads=_pads(step, padding))


def _avg_pool(writer: _Writer, step: _Step) -> None:
    """Padding counts into torch's mean if `include_pad`; what rounding up adds never does."""
    padding = step.op.attrs["padding"]
    assert isinstance(padding, tuple)
    source, pads = step.inputs[0], _pads(step, padding)
    if step.op.attrs["include_pad"] and any(padding):
        name = f"{step.output}.padding"
        amounts = np.array([0, 0, *padding, 0, 0, *padding], np.int64)
        writer.node("Pad", [source, writer.constant(f"{name}.amounts", amounts)], name)
        source, pads = name, [0, 0, *(pads[i] - padding[i - 2] for i in (2, 3))]
    writer.node("AveragePool", [source], step.output, **_window(step), pads=pads)


def _window(step: _Step) -> dict[str, Any]:
    attrs: Mapping[str, Any] = step.op.attrs
    return {"kernel_shape": list(attrs["kernel"]), "strides": list(attrs["stride"])}


def _pads(step: _Step, padding: tuple[int, ...]) -> list[int]:
    """Padding at the start and end of both axes that makes rounding down give torch's size."""
    attrs: Mapping[str, Any] = step.op.attrs
    ends = []
    for axis in (0, 1):
        reach = (step.result[1 + axis] - 1) * attrs["stride"][axis] + attrs["kernel"][axis]
        missing = reach - (step.shapes[0][1 + axis] + 2 * padding[axis])
        ends.append(padding[axis] + max(0, missing))
    return [*padding, *ends]


def _flatten(writer: _Writer, step: _Step) -> None:
    writer.node("Flatten", step.inputs, step.output, axis=1)


def _relu6(writer: _Writer, step: _Step) -> None:
    low = writer.constant("relu6.low", np.array(0, np.float32))
    high = writer.constant("relu6.high", np.array(6, np.float32))
    writer.node("Clip", [step.inputs[0], low, high], step.output)


def _lrn(writer: _Writer, step: _Step) -> None:
    """Both torch and ONNX divide alpha by the size; an even window they place differently."""
    attrs: Mapping[str, Any] = step.op.attrs
    if attrs["size"] % 2 == 0:
        raise EngineError(f"onnx: lrn over {attrs['size']} channels; the number must be odd")
    writer.node(
        "LRN",
        step.inputs,
        step.output,
        size=attrs["size"],
        alpha=attrs["alpha"],
        beta=attrs["beta"],
        bias=attrs["k"],
    )


def _batch_norm(writer: _Writer, step: _Step) -> None:
    weights = step.weight("weight", "bias", "running_mean", "running_var")
    writer.node(
        "BatchNormalization",
        [step.inputs[0], *weights],
        step.output,
        epsilon=step.op.attrs["eps"],
    )


def _plain(kind: str, **attrs: int) -> Callable[[_Writer, _Step], None]:
    def write(writer: _Writer, step: _Step) -> None:
        writer.node(kind, step.inputs, step.output, **attrs)

    return write


_WRITERS: Mapping[str, Callable[[_Writer, _Step], None]] = {
    "conv": _conv,
    "fc": _fc,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": _plain("GlobalAveragePool"),
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "flatten": _flatten,
    "softmax": _plain("Softmax", axis=1),
    "lrn": _lrn,
    "batch_norm": _batch_norm,
    "add": _plain("Add"),
    "concat": _plain("Concat", axis=1),
}
