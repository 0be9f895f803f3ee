"""A network without its weights: operators, how they are joined, the shapes that follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sigdca.codec.errors import LimitError, OperatorError, ShapeError
from sigdca.codec.op_kinds import OP_KINDS, Attr, OpKind

__all__ = ["OP_KINDS", "Attr", "Graph", "Op", "Shape", "expected_tensors", "infer_shapes"]

Shape: TypeAlias = tuple[int, ...]

MAX_OPS = 4096
MAX_NAME_BYTES = 255
MAX_VALUES = 2**28  # in one activation, padding included: 1 GiB of float32
MAX_WEIGHTS = 2**31  # in all tensors together: 8 GiB of float32


@dataclass(frozen=True)
class Op:
    """One operator.

    Attributes:
        kind: a name in `OP_KINDS`.
        name: the layer's name as in the torch module tree (`conv1`, `features.0`); empty for
            operators without parameters.
        inputs: the values it takes: 0 is the network's input, i + 1 the output of `ops[i]`.
        attrs: exactly the attributes of its kind.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Graph:
    """A network's operators in the order in which they run.

    Attributes:
        input_shape: channels, height, width; no batch axis.
        input_scale: what every engine does first: x = float32(pixel) * input_scale.
        ops: the operators; the last one's output is the network's (logits).
    """

    input_shape: tuple[int, ...]
    input_scale: float
    ops: tuple[Op, ...]


def infer_shapes(graph: Graph) -> list[Shape]:
    """The shape of every value, without the batch axis; the whole graph is checked on the way.

    Returns:
        `(C, H, W)` or `(F,)` for each value: `[0]` is the network's input, `[i + 1]` the output
        of `ops[i]`.

    Raises:
        OperatorError: a kind, name, input or attribute is not what it must be.
        ShapeError: an operator cannot take what it is given.
        LimitError: there are too many operators, or too large values.
    """
    _check_frame(graph)
    shapes: list[Shape] = [graph.input_shape]
    names: set[str] = set()
    for index, op in enumerate(graph.ops):
        where = _where(index, op)
        _check_op(op, index, where)
        if op.name in names:
            raise OperatorError(f"{where}: there is another layer of this name")
        names.update({op.name} - {""})
        shape = _RULES[op.kind]([shapes[i] for i in op.inputs], op.attrs, where)
        _check_size(shape, f"{where}: output")
        shapes.append(shape)
    return shapes


def expected_tensors(graph: Graph) -> dict[str, Shape]:
    """The graph's parameters in the order in which a container holds them.

    Returns:
        Name (as in the torch `state_dict`: `<op.name>.weight`, `.bias`, and of a batch_norm
        `.running_mean`, `.running_var`) to shape, in torch's layouts (conv OIHW, fc [out, in]).

    Raises:
        OperatorError, ShapeError, LimitError: as `infer_shapes`; LimitError also for more than
            2^31 weights.
    """
    shapes = infer_shapes(graph)
    tensors: dict[str, Shape] = {}
    num_weights = 0
    for index, op in enumerate(graph.ops):
        for end, shape in _tensors_of(op, shapes[op.inputs[0]]).items():
            tensors[f"{op.name}.{end}"] = shape
            num_weights += math.prod(shape)
            if num_weights > MAX_WEIGHTS:
                raise LimitError(
                    f"{_where(index, op)}: {num_weights} weights up to here, limit {MAX_WEIGHTS}"
                )
    return tensors


def _tensors_of(op: Op, taken: Shape) -> dict[str, Shape]:
    attrs: Mapping[str, Any] = op.attrs
    if op.kind == "batch_norm":
        return dict.fromkeys(OP_KINDS[op.kind].tensors, (taken[0],))
    if op.kind == "conv":
        channels = attrs["out_channels"]
        weight: Shape = (channels, taken[0] // attrs["groups"], *attrs["kernel"])
    elif op.kind == "fc":
        channels = attrs["out_features"]
        weight = (channels, taken[0])
    else:
        return {}
    return {"weight": weight, "bias": (channels,)} if attrs["bias"] else {"weight": weight}


def _where(index: int, op: Op) -> str:
    return f"layer '{op.name}'" if op.name else f"operator {index} ({op.kind})"


def _check_frame(graph: Graph) -> None:
    shape = graph.input_shape
    sound = isinstance(shape, tuple) and len(shape) == 3
    if not sound or not all(type(size) is int and size >= 1 for size in shape):
        raise ShapeError(f"graph: input shape must be 3 sizes of at least 1, got {shape!r}")
    _check_size(shape, "graph: input")
    scale = graph.input_scale
    if not isinstance(scale, float) or not math.isfinite(scale) or scale <= 0:
        raise OperatorError(f"graph: input scale must be a float above 0, got {scale!r}")
    if not 1 <= len(graph.ops) <= MAX_OPS:
        raise LimitError(f"graph: must have 1..{MAX_OPS} operators, got {len(graph.ops)}")


def _check_op(op: Op, index: int, where: str) -> None:
    kind = OP_KINDS.get(op.kind)
    if kind is None:
        raise OperatorError(f"operator {index}: unknown kind {op.kind!r}")
    _check_name(op, kind, index)
    low, high = kind.num_inputs
    if not isinstance(op.inputs, tuple) or not low <= len(op.inputs) <= high:
        raise OperatorError(f"{where}: must have {low}..{high} inputs, got {op.inputs!r}")
    for value in op.inputs:
        if type(value) is not int or not 0 <= value <= index:
            raise OperatorError(f"{where}: input must be a value in 0..{index}, got {value!r}")
    if set(op.attrs) != set(kind.attrs):
        raise OperatorError(f"{where}: attributes must be {[*kind.attrs]}, got {[*op.attrs]}")
    for name, attr in kind.attrs.items():
        complaint = attr.complaint(op.attrs[name])
        if complaint is not None:
            raise OperatorError(f"{where}: {name} {complaint}")


def _check_name(op: Op, kind: OpKind, index: int) -> None:
    where = f"operator {index} ({op.kind})"
    if not isinstance(op.name, str) or bool(op.name) != bool(kind.tensors):
        rule = "must have a name" if kind.tensors else "has no parameters, so its name must be ''"
        raise OperatorError(f"{where}: {rule}, got {op.name!r}")
    try:
        size = len(op.name.encode())
    except UnicodeEncodeError as error:
        raise OperatorError(f"{where}: name {op.name!r} is not Unicode text") from error
    if size > MAX_NAME_BYTES:
        raise OperatorError(f"{where}: name has {size} bytes, limit {MAX_NAME_BYTES}")
    # A name ends up on terminals and in reports: no control characters.
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in op.name):
        raise OperatorError(f"{where}: name {op.name!r} has a control character")


def _check_size(shape: Shape, where: str) -> None:
    values = math.prod(shape)
    if values > MAX_VALUES:
        raise LimitError(f"{where} {list(shape)} has {values} values, limit {MAX_VALUES}")


def _image(shape: Shape, where: str) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(f"{where}: input must be [channels, height, width], got {list(shape)}")
    return shape[0], shape[1], shape[2]


def _conv(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    channels, *size = _image(taken[0], where)
    out_channels, groups = attrs["out_channels"], attrs["groups"]
    if channels % groups or out_channels % groups:
        raise ShapeError(
            f"{where}: {groups} groups must divide {channels} input and {out_channels} output "
            "channels"
        )
    reach = [
        step * (kernel - 1) + 1
        for step, kernel in zip(attrs["dilation"], attrs["kernel"], strict=True)
    ]
    return out_channels, *_slide(channels, size, reach, attrs, where)


def _pool(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    channels, *size = _image(taken[0], where)
    for kernel, padding in zip(attrs["kernel"], attrs["padding"], strict=True):
        if 2 * padding > kernel:
            raise ShapeError(f"{where}: padding {padding} exceeds half of kernel {kernel}")
    return channels, *_slide(channels, size, attrs["kernel"], attrs, where)


def _slide(
    channels: int, size: list[int], reach: Sequence[int], attrs: Mapping[str, Any], where: str
) -> list[int]:
    """How many places a window has on each axis; torch's rounding, for `ceil` too."""
    padded = [length + 2 * side for length, side in zip(size, attrs["padding"], strict=True)]
    _check_size((channels, *padded), f"{where}: padded input")
    result = []
    for axis in range(2):
        span, stride = padded[axis] - reach[axis], attrs["stride"][axis]
        if span < 0:
            raise ShapeError(
                f"{where}: window of {reach[axis]} is larger than its padded input, {padded[axis]}"
            )
        places = span // stride + 1
        # A rounded-up last window must begin inside the input or the padding before it.
        begins_inside = places * stride < size[axis] + attrs["padding"][axis]
        if attrs.get("ceil") and span % stride and begins_inside:
            places += 1
        result.append(places)
    return result


def _fc(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    if len(taken[0]) != 1:
        raise ShapeError(f"{where}: input must be flat, got {list(taken[0])}")
    return (attrs["out_features"],)


def _same(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    return taken[0]


def _same_image(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    return _image(taken[0], where)


def _global_avg_pool(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    return _image(taken[0], where)[0], 1, 1


def _flatten(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    return (math.prod(taken[0]),)


def _add(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    if taken[0] != taken[1]:
        raise ShapeError(f"{where}: cannot add {list(taken[0])} and {list(taken[1])}")
    return taken[0]


def _concat(taken: Sequence[Shape], attrs: Mapping[str, Any], where: str) -> Shape:
    for shape in taken:
        if len(shape) != len(taken[0]) or shape[1:] != taken[0][1:]:
            raise ShapeError(f"{where}: cannot join {list(taken[0])} and {list(shape)}")
    return sum(shape[0] for shape in taken), *taken[0][1:]


_RULES: Mapping[str, Callable[[Sequence[Shape], Mapping[str, Any], str], Shape]] = {
    "conv": _conv,
    "fc": _fc,
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_avg_pool": _global_avg_pool,
    "relu": _same,
    "relu6": _same,
    "flatten": _flatten,
    "softmax": _same,
    "lrn": _same_image,
    "batch_norm": _same_image,
    "add": _add,
    "concat": _concat,
}
