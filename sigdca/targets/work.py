"""What a network gives a processor to do, in the steps that the native library cuts it into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sigdca.codec.graph import Graph, Op, Shape, infer_shapes
from sigdca.codec.info import ContainerInfo, LayerInfo

LANES = {"amx": 16, "avx512": 16, "avx2": 8, "sse4.2": 4, "neon": 4, "reference": 1}
BYTES = 4  # of a value

_MOST_ROWS = 8  # of an image that a convolution's vectors span together
_PANEL = 14  # vectors that are summed while a weight is at hand
_TILE = 4  # outputs on a side of a Winograd tile
_CLAMPS = ("relu", "relu6")
# To bring a vector of inputs to its place costs as much as so many products; a strided one, more.
_PACK_COST, _GATHER_COST = 4, 30
# Of a fully connected layer, by a vector of one column: a gathered step, a column, one weight.
_STEP, _COLUMN, _PAIR = 12, 2.7, 1.5
_DENSE_BYTES = 2**20
MOST_CODES, IN_REGISTERS = 256, 32  # values that weights share


@dataclass(frozen=True)
class Step:
    """A piece of a run: an operator, with those that it takes up behind it.

    Attributes:
        name: the layer's, else the operator's kind and number.
        family: `conv`, `depthwise`, `fc`, or the kind of an operator without parameters; of
            pooling and strided convolutions with what makes their kernels others.
        counts: how much there is of what takes time, by name.
        may_unpack: whether the library may keep a fully connected layer dense in memory.
    """

    name: str
    family: str
    counts: Mapping[str, float]
    may_unpack: bool = False


def steps_of(info: ContainerInfo, isa: str, cache_bytes: float) -> list[Step]:
    """Cuts a network into steps.

    Args:
        info: what is in the container.
        isa: whose vectors compute, a key of `LANES`.
        cache_bytes: what a core has near; weights are read from afar if all do not fit.

    Returns:
        The reading of the image, then the steps in their order.
    """
    graph, lanes = info.graph, LANES.get(isa, 4)
    shapes = infer_shapes(graph)
    layers = {layer.name: layer for layer in info.layers}
    kept = sum(_weight_bytes(layer) for layer in info.layers)
    far = max(0.0, 1 - cache_bytes / kept) if kept else 0.0
    steps = [Step("input", "input", {"run": 1, "values": math.prod(graph.input_shape)})]
    taken = _taken_up(graph)
    for number, op in enumerate(graph.ops):
        if number in taken or op.kind == "flatten":
            continue
        inputs, output = [shapes[i] for i in op.inputs], shapes[number + 1]
        layer = layers.get(op.name)
        name = op.name or f"{op.kind} {number}"
        if layer is not None and op.kind == "conv":
            counts = _conv(op, layer, inputs[0], output, lanes)
            steps.append(Step(name, _conv_family(op, inputs[0]), _with_bytes(counts, layer, far)))
        elif layer is not None and op.kind == "fc":
            counts = _with_bytes(_fc(layer, lanes), layer, far)
            steps.append(Step(name, _fc_family(layer), counts, _may_unpack(layer, lanes)))
        else:
            steps.append(Step(name, _plain_family(op), _plain(op, inputs, output)))
    return steps


def _taken_up(graph: Graph) -> set[int]:
    """Operators that are done together with the one before: its only reader clamps or norms."""
    readers: dict[int, list[int]] = {}
    for number, op in enumerate(graph.ops):
        for value in op.inputs:
            readers.setdefault(value, []).append(number)
    taken: set[int] = set()
    for number, op in enumerate(graph.ops):
        if number in taken or op.kind not in ("conv", "fc", *_CLAMPS):
            continue
        value, normed, clamped = number + 1, False, op.kind in _CLAMPS
        while len(next_ones := readers.get(value, [])) == 1:
            kind = graph.ops[next_ones[0]].kind
            if kind == "batch_norm" and op.kind == "conv" and not normed and not clamped:
                normed = True
            elif kind in _CLAMPS:
                clamped = True
            elif kind != "flatten":
                break
            taken.add(next_ones[0])
            value = next_ones[0] + 1
    return taken


def _weight_bytes(layer: LayerInfo) -> float:
    """What a layer keeps in memory: about a value and its place for each weight that is not 0."""
    return float(min(BYTES * layer.num_weights, 1.5 * BYTES * layer.num_nonzero))


def _with_bytes(counts: dict[str, float], layer: LayerInfo, far: float) -> dict[str, float]:
    return {**counts, "far_bytes": far * _weight_bytes(layer)}


def _conv_family(op: Op, taken: Shape) -> str:
    attrs: Mapping[str, Any] = op.attrs
    family = "depthwise" if attrs["groups"] == taken[0] > 1 else "conv"
    return family if attrs["stride"][1] == 1 else f"{family} strided"


def _conv(op: Op, layer: LayerInfo, taken: Shape, output: Shape, lanes: int) -> dict[str, float]:
    attrs: Mapping[str, Any] = op.attrs
    kernel, stride, (_, height, width) = attrs["kernel"], attrs["stride"], output
    if kernel == stride == (1, 1) and attrs["padding"] == (0, 0):
        height, width = 1, height * width  # one long row
    pack_cost = _PACK_COST if stride[1] == 1 else _GATHER_COST
    vectors = packed = least = math.inf
    for rows in range(1, min(_MOST_ROWS, height) + 1):
        # A vector's lanes go on in the next segment of rows where a row of outputs ends.
        tried = rows * math.ceil(width * math.ceil(height / rows) / lanes)
        needed = min(rows * kernel[0], (rows - 1) * stride[0] + kernel[0])
        to_pack = taken[0] * kernel[1] * tried * needed / rows
        cost = layer.num_nonzero * tried + pack_cost * to_pack
        if cost < least:
            vectors, packed, least = tried, to_pack, cost
    tiles = math.ceil(output[1] / _TILE) * math.ceil(output[2] / _TILE)
    return {
        "run": 1,
        "products": layer.num_nonzero * vectors,
        "taps": layer.num_nonzero * math.ceil(vectors / _PANEL),
        "dense_products": layer.num_weights * vectors,
        "packed": packed,
        "stored": output[0] * vectors,
        "tiles": taken[0] * output[0] * tiles / attrs["groups"],
        "tile_inputs": (taken[0] + output[0]) * tiles,
    }


def _fc_family(layer: LayerInfo) -> str:
    """Weights of few values are looked up in registers, of others in memory."""
    if layer.num_centroids == 0 or layer.num_centroids > MOST_CODES:
        return "fc raw"
    return "fc" if layer.num_centroids <= IN_REGISTERS else "fc wide"


def _may_unpack(layer: LayerInfo, lanes: int) -> bool:
    """The library's own rule (fc_tables.h): a large layer of few shared weights keeps its size."""
    rows, columns = layer.shape
    cells = math.ceil(rows / lanes) * lanes * columns
    shared = layer.num_centroids > 0
    return not (shared and layer.num_nonzero < 0.5 * cells and BYTES * cells > _DENSE_BYTES)


def _fc(layer: LayerInfo, lanes: int) -> dict[str, float]:
    rows, columns = layer.shape
    groups, mean = math.ceil(rows / lanes), layer.num_nonzero / rows
    # Lanes go in step: the fullest of a group's rows counts.
    steps = groups * min(columns, mean + 1.8 * math.sqrt(mean))
    in_registers = layer.num_centroids <= IN_REGISTERS
    gathered = (_STEP if in_registers else 2 * _STEP) * steps
    skipped = _COLUMN * columns + groups * columns if in_registers else _PAIR * layer.num_nonzero
    return {
        "run": 1,
        "products": layer.num_nonzero,
        "steps": steps,
        "least": min(gathered, skipped),
        "dense_products": groups * columns,
        "columns": columns,
        "rows": groups,
    }


def _plain_family(op: Op) -> str:
    if op.kind not in ("max_pool", "avg_pool"):
        return op.kind
    attrs: Mapping[str, Any] = op.attrs
    (kernel, other), (stride, _) = attrs["kernel"], attrs["stride"]
    return f"{op.kind} {kernel}/{stride}" if kernel == other else op.kind


def _plain(op: Op, inputs: list[Shape], output: Shape) -> dict[str, float]:
    attrs: Mapping[str, Any] = op.attrs
    values = math.prod(output)
    counts: dict[str, float] = {"run": 1, "values": values}
    if "kernel" in attrs:
        counts["rows"] = output[0] * output[1]
        counts["windows"] = values * math.prod(attrs["kernel"])
    elif op.kind == "global_avg_pool":
        counts["values"] = math.prod(inputs[0])
    elif op.kind == "lrn":
        counts["windows"] = values * attrs["size"]
    return counts
