"""What is in a container, in bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sigdca.codec.graph import MAX_WEIGHTS, Graph, Shape
from sigdca.codec.layout import Kind, Section
from sigdca.codec.op_kinds import OP_KINDS
from sigdca.codec.reader import ContainerReader

_STATISTICS = (".running_mean", ".running_var")  # buffers, not parameters


@dataclass(frozen=True)
class LayerInfo:
    """One layer with parameters.

    Attributes:
        name: as in the graph.
        kind: the operator's kind.
        shape: of the weights.
        num_weights: their number, without biases.
        num_nonzero: how many of them are not zero.
        sparsity: the fraction that is.
        num_centroids: distinct non-zero values in the codebook; 0 if the weights are raw.
        bits: what an index would need without entropy coding; 32 if the weights are raw.
        bytes: all sections of the layer.
        dense_bytes: its parameters as float32.
        parts: the bytes of `codebook`, `indices`, `gaps` (of the weights) and `bias`; what is
            missing to `bytes` is raw weights and running statistics. All 0 in version 2, which
            codes a layer as one.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_weights: int
    num_nonzero: int
    sparsity: float
    num_centroids: int
    bits: int
    bytes: int
    dense_bytes: int
    parts: dict[str, int]


@dataclass(frozen=True)
class ContainerInfo:
    """What a container holds.

    Attributes:
        version: of the format.
        container_bytes: of the whole file.
        dense_bytes: all parameters as float32 (running statistics are none).
        graph: the network.
        metadata: what the writer noted.
        layers: those with parameters, in the graph's order.
        sections: the section table.
    """

    version: int
    container_bytes: int
    dense_bytes: int
    graph: Graph
    metadata: dict[str, str]
    layers: list[LayerInfo]
    sections: list[Section]

    @property
    def compression_ratio(self) -> float:
        """Dense bytes of all parameters / bytes of the whole file."""
        return self.dense_bytes / self.container_bytes


def inspect_container(
    data: bytes | memoryview, *, max_weights: int = MAX_WEIGHTS
) -> ContainerInfo:
    """Says what is in a container. Every tensor is decoded on the way, one at a time.

    Args:
        data: the whole file.
        max_weights: the most weights that its graph may declare.

    Raises:
        FormatError: one of `sigdca.codec.errors`, with one line that says where.
    """
    reader = ContainerReader(data, max_weights)
    layers = [_layer(reader, op.name, op.kind) for op in reader.graph.ops if op.name]
    return ContainerInfo(
        version=reader.version,
        container_bytes=len(data),
        dense_bytes=sum(layer.dense_bytes for layer in layers),
        graph=reader.graph,
        metadata=reader.metadata,
        layers=layers,
        sections=reader.sections,
    )


def _layer(reader: ContainerReader, name: str, kind: str) -> LayerInfo:
    ends = OP_KINDS[kind].tensors
    shapes: dict[str, Shape] = {
        f"{name}.{end}": reader.shapes[f"{name}.{end}"]
        for end in ends
        if f"{name}.{end}" in reader.shapes
    }
    sizes = {tensor: _bytes(reader, tensor) for tensor in shapes}
    weights, codebook = reader.tensor_and_codebook(f"{name}.weight")
    for other in list(shapes)[1:]:
        reader.tensor(other)  # for its checks
    num_nonzero = int(np.count_nonzero(weights))
    num_centroids = 0 if codebook is None else int(np.count_nonzero(codebook))
    sections = reader.sections_of(f"{name}.weight")
    parts = {
        part.name.lower(): sections[part].length if part in sections else 0
        for part in (Kind.CODEBOOK, Kind.INDICES, Kind.GAPS)
    }
    return LayerInfo(
        name=name,
        kind=kind,
        shape=weights.shape,
        num_weights=weights.size,
        num_nonzero=num_nonzero,
        sparsity=1 - num_nonzero / weights.size,
        num_centroids=num_centroids,
        bits=32 if codebook is None else max(num_centroids - 1, 0).bit_length(),
        bytes=sum(sizes.values()),
        dense_bytes=sum(
            4 * math.prod(shape)
            for tensor, shape in shapes.items()
            if not tensor.endswith(_STATISTICS)
        ),
        parts=parts | {"bias": sizes.get(f"{name}.bias", 0)},
    )


def _bytes(reader: ContainerReader, tensor: str) -> int:
    return sum(section.length for section in reader.sections_of(tensor).values())
