"""The container: a network's graph and compressed weights in one file (SPEC.md). numpy only."""

from sigdca.codec.container import Container, decode_container, encode_container, read_container
from sigdca.codec.graph import OP_KINDS, Attr, Graph, Op, Shape, expected_tensors, infer_shapes
from sigdca.codec.info import ContainerInfo, LayerInfo, inspect_container
from sigdca.codec.reader import ContainerReader

__all__ = [
    "OP_KINDS",
    "Attr",
    "Container",
    "ContainerInfo",
    "ContainerReader",
    "Graph",
    "LayerInfo",
    "Op",
    "Shape",
    "decode_container",
    "encode_container",
    "expected_tensors",
    "infer_shapes",
    "inspect_container",
    "read_container",
]
