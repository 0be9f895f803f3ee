"""Reads the weights in a Caffe `.caffemodel`, with no more of protobuf than that takes.

The messages and field numbers are those of Caffe's `caffe.proto`:
NetParameter.layers = 2 (V1LayerParameter: name 4, blobs 6), NetParameter.layer = 100
(LayerParameter: name 1, blobs 7), BlobProto: num, channels, height, width 1 to 4, data 5, shape 7
(BlobShape: dim 1). The nesting is fixed (net, layer, blob, shape), so hostile input cannot make
the reader recurse; every length is checked against the bytes that are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sigdca.errors import FormatError

MAX_AXES = 32  # Caffe's own limit (kMaxBlobAxes)
MAX_AXIS = 2**31 - 1  # and Caffe's type of an axis

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, eq=False)
class CaffeLayer:
    """A layer that has weights.

    Attributes:
        name: as in the net's prototxt.
        blobs: its parameters, float32; for conv and fc the weight, then the bias if it has one.
    """

    name: str
    blobs: tuple[npt.NDArray[np.float32], ...]


def parse_caffemodel(content: bytes, where: str) -> list[CaffeLayer]:
    """The layers with weights, in the order of the file.

    Args:
        content: the whole file.
        where: names the file in errors.

    Raises:
        FormatError: it is truncated, damaged or something else; one line with the byte offset.
    """
    layers = []
    for number, value in _fields(memoryview(content), where, 0):
        if number in _LAYER_FIELDS and isinstance(value, _Span):
            layer = _parse_layer(value, where, *_LAYER_FIELDS[number])
            if layer.blobs:
                layers.append(layer)
    if not layers:
        raise FormatError(f"{where}: not a .caffemodel, or one without weights: no layer has any")
    return layers


_LAYER_FIELDS = {2: (4, 6), 100: (1, 7)}  # field of NetParameter -> fields of name and blobs


@dataclass(frozen=True)
class _Span:
    """A length-delimited value and its place in the file."""

    view: memoryview
    offset: int


def _fields(
    view: memoryview, where: str, offset: int
) -> Iterator[tuple[int, int | bytes | _Span]]:
    """Yields (number, value) of each field; a varint is an int, a fixed-size value is bytes."""
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at, where, offset)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            varint, at = _varint(view, at, where, offset)
            yield number, varint
            continue
        if wire_type == _BYTES:
            length, at = _varint(view, at, where, offset)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise FormatError(
                f"{where}: byte {offset + start}: wire type {wire_type} is in no .caffemodel"
            )
        if length > len(view) - at:
            raise FormatError(
                f"{where}: byte {offset + start}: field {number} has {length} bytes, "
                f"{len(view) - at} are left"
            )
        value = view[at : at + length]
        yield number, (_Span(value, offset + at) if wire_type == _BYTES else bytes(value))
        at += length


def _varint(view: memoryview, at: int, where: str, offset: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(view):
            raise FormatError(f"{where}: byte {offset + at}: ends inside a number")
        byte = view[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise FormatError(
        f"{where}: byte {offset + at}: a number of more than {_MAX_VARINT_BYTES} bytes"
    )


def _parse_layer(span: _Span, where: str, name_field: int, blobs_field: int) -> CaffeLayer:
    name = ""
    blobs = []
    for number, value in _fields(span.view, where, span.offset):
        if not isinstance(value, _Span):
            continue
        if number == name_field:
            name = bytes(value.view).decode("utf-8", errors="replace")
        elif number == blobs_field:
            blobs.append(_parse_blob(value, where))
    return CaffeLayer(name, tuple(blobs))


def _parse_blob(span: _Span, where: str) -> npt.NDArray[np.float32]:
    old_shape = [0, 0, 0, 0]
    shape: list[int] | None = None
    parts: list[memoryview] = []
    singles = bytearray()  # data written one value at a time, as protobuf also allows
    for number, value in _fields(span.view, where, span.offset):
        if number in (1, 2, 3, 4) and isinstance(value, int):
            old_shape[number - 1] = value
        elif number == 5 and isinstance(value, _Span):
            if len(value.view) % 4:
                raise FormatError(
                    f"{where}: byte {value.offset}: {len(value.view)} bytes of float32 data"
                )
            parts.append(value.view)
        elif number == 5 and isinstance(value, bytes) and len(value) == 4:
            singles += value
        elif number == 7 and isinstance(value, _Span):
            shape = _parse_shape(value, where)
    data = parts[0] if len(parts) == 1 and not singles else b"".join([*parts, singles])
    axes = shape if shape is not None else old_shape
    if max(axes, default=0) > MAX_AXIS:
        raise FormatError(
            f"{where}: byte {span.offset}: a blob with an axis of {max(axes)}, limit {MAX_AXIS}"
        )
    count = math.prod(axes)
    if len(data) != 4 * count:
        text = "x".join(map(str, axes))
        raise FormatError(
            f"{where}: byte {span.offset}: a blob of shape {text} has {len(data)} bytes of "
            f"float32 data, must have {4 * count}"
        )
    return np.frombuffer(data, "<f4").reshape(axes if count else (0,))


def _parse_shape(span: _Span, where: str) -> list[int]:
    axes: list[int] = []
    for number, value in _fields(span.view, where, span.offset):
        if number == 1 and isinstance(value, int):
            axes.append(value)
        elif number == 1 and isinstance(value, _Span):
            at = 0
            while at < len(value.view) and len(axes) <= MAX_AXES:
                axis, at = _varint(value.view, at, where, value.offset)
                axes.append(axis)
        if len(axes) > MAX_AXES:
            raise FormatError(f"{where}: byte {span.offset}: a blob of more than {MAX_AXES} axes")
    return axes
