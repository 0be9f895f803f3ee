"""A graph in bytes and back (SPEC.md, "Graph"). Small enough that a C reader is a page."""

from __future__ import annotations

import struct
from typing import Any, cast

from sigdca.codec.errors import GraphBytesError
from sigdca.codec.graph import MAX_OPS, Graph, Op, infer_shapes
from sigdca.codec.op_kinds import MAX_INPUTS, OP_KINDS, Attr, AttrKind
from sigdca.codec.varint import get_varint, put_varint

_BY_CODE = {kind.code: (name, kind) for name, kind in OP_KINDS.items()}
_FLOAT = struct.Struct("<d")


def put_graph(graph: Graph) -> bytes:
    """The graph section. Equal graphs give equal bytes.

    Raises:
        OperatorError, ShapeError, LimitError: the graph is not sound (see `infer_shapes`).
    """
    infer_shapes(graph)
    out = bytearray()
    for size in graph.input_shape:
        out += put_varint(size)
    out += _FLOAT.pack(graph.input_scale)
    out += put_varint(len(graph.ops))
    for index, op in enumerate(graph.ops):
        kind = OP_KINDS[op.kind]
        out.append(kind.code)
        if kind.num_inputs[0] != kind.num_inputs[1]:
            out += put_varint(len(op.inputs))
        for value in op.inputs:
            # Mostly the operator just before: counted back, it is a small number.
            out += put_varint(index - value)
        if kind.tensors:
            name = op.name.encode()
            out += put_varint(len(name)) + name
        for attr_name, attr in kind.attrs.items():
            out += _put_attr(attr, op.attrs[attr_name])
    return bytes(out)


def get_graph(data: bytes | memoryview) -> Graph:
    """Reads a graph section, and checks the graph whole.

    Raises:
        GraphBytesError: it ends early, goes on behind the last operator, or has an unknown code.
        VarintError: a number in it is malformed.
        OperatorError, ShapeError, LimitError: the graph is not sound (see `infer_shapes`).
    """
    reader = _Reader(data)
    shape = (reader.number(), reader.number(), reader.number())
    scale = reader.float()
    num_ops = reader.number()
    if num_ops > MAX_OPS:
        raise GraphBytesError(f"graph: promises {num_ops} operators, limit {MAX_OPS}")
    ops = tuple(_get_op(reader, index) for index in range(num_ops))
    if reader.at != len(data):
        raise GraphBytesError(f"graph: ends at byte {reader.at}, its section at {len(data)}")
    graph = Graph(shape, scale, ops)
    infer_shapes(graph)
    return graph


def _put_attr(attr: AttrKind, value: Attr) -> bytes:
    if attr.type == "float":
        return _FLOAT.pack(cast("float", value) + 0.0)  # -0.0 equals 0.0: the same bytes
    items = value if isinstance(value, tuple) else (cast("int", value),)
    return b"".join(put_varint(item) for item in items)


def _get_op(reader: _Reader, index: int) -> Op:
    code = reader.take(1)[0]
    if code not in _BY_CODE:
        raise GraphBytesError(f"graph: operator {index} has the unknown code {code}")
    name, kind = _BY_CODE[code]
    low, high = kind.num_inputs
    num_inputs = low if low == high else reader.number()
    if num_inputs > MAX_INPUTS:
        raise GraphBytesError(
            f"graph: operator {index} promises {num_inputs} inputs, limit {MAX_INPUTS}"
        )
    inputs = tuple(index - reader.number() for _ in range(num_inputs))
    layer = reader.text(index) if kind.tensors else ""
    attrs: dict[str, Attr] = {key: reader.attr(attr) for key, attr in kind.attrs.items()}
    return Op(name, layer, inputs, attrs)


class _Reader:
    """A place in the graph section."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise GraphBytesError(
                f"graph: ends early, at byte {len(self._data)}; needs {count} bytes at {self.at}"
            )
        taken = bytes(self._data[self.at : end])
        self.at = end
        return taken

    def number(self) -> int:
        value, self.at = get_varint(self._data, self.at, "graph")
        return value

    def float(self) -> float:
        value: float = _FLOAT.unpack(self.take(8))[0]
        return value

    def text(self, index: int) -> str:
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError as error:
            raise GraphBytesError(
                f"graph: the name of operator {index} is not UTF-8 at byte {error.start}"
            ) from error

    def attr(self, attr: AttrKind) -> Any:
        if attr.type == "float":
            return self.float()
        return self.number() if attr.type == "int" else (self.number(), self.number())
