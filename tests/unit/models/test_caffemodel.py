"""The `.caffemodel` reader, on bytes that these tests write, and on every way to spoil them."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.errors import FormatError
from sigdca.models.caffemodel import parse_caffemodel

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([-1, 1], np.float32)


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """One field: an int as a varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, data=None):
    shape = field(1, b"".join(map(varint, array.shape)))
    return field(7, shape) + field(5, array.astype("<f4").tobytes() if data is None else data)


def old_blob(array):
    axes = (1,) * (4 - array.ndim) + array.shape
    numbers = b"".join(field(number, axis) for number, axis in enumerate(axes, start=1))
    return numbers + field(5, array.astype("<f4").tobytes())


def layer(name, *blobs):
    return field(100, field(1, name) + field(2, b"InnerProduct") + b"".join(map(blob_7, blobs)))


def blob_7(content):
    return field(7, content)


def old_layer(name, *blobs):
    parts = b"".join(field(6, content) for content in blobs)
    return field(2, field(2, b"data") + field(3, b"ip1") + field(4, name) + field(5, 14) + parts)


def new_net():
    data_layer = field(100, field(1, b"data") + field(2, b"Data"))
    return field(1, b"net") + data_layer + layer(b"ip1", blob(WEIGHT), blob(BIAS))


def check_ip1(layers, weight_shape=(2, 3), bias_shape=(2,)):
    assert [found.name for found in layers] == ["ip1"]
    weight, bias = layers[0].blobs
    assert (weight.shape, bias.shape) == (weight_shape, bias_shape)
    assert weight.dtype == np.float32
    assert weight.reshape(WEIGHT.shape).tolist() == WEIGHT.tolist()
    assert bias.ravel().tolist() == BIAS.tolist()


def test_new_form():
    check_ip1(parse_caffemodel(new_net(), "x"))


def test_old_form():
    net = field(1, b"net") + old_layer(b"ip1", old_blob(WEIGHT), old_blob(BIAS))
    check_ip1(parse_caffemodel(net, "x"), (1, 1, 2, 3), (1, 1, 1, 2))


def test_new_layers_may_have_old_blobs():
    net = layer(b"ip1", old_blob(WEIGHT), old_blob(BIAS))
    check_ip1(parse_caffemodel(net, "x"), (1, 1, 2, 3), (1, 1, 1, 2))


def test_data_and_shape_may_be_written_value_by_value():
    shape = field(7, field(1, 2) + field(1, 3))
    singles = b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in WEIGHT.flat)
    check_ip1(parse_caffemodel(layer(b"ip1", shape + singles, blob(BIAS)), "x"))


def test_data_may_come_in_parts():
    data = WEIGHT.tobytes()
    parts = field(7, field(1, b"\2\3")) + field(5, data[:8]) + field(5, data[8:])
    check_ip1(parse_caffemodel(layer(b"ip1", parts, blob(BIAS)), "x"))


def test_other_fields_are_passed_over():
    other = varint(9 << 3 | 1) + bytes(8) + varint(10 << 3 | 5) + bytes(4) + field(200, 2**63)
    net = other + field(100, other + field(1, b"ip1") + blob_7(blob(WEIGHT)) + blob_7(blob(BIAS)))
    check_ip1(parse_caffemodel(net, "x"))


def test_several_layers_keep_their_order():
    net = layer(b"b", blob(BIAS)) + layer(b"a", blob(WEIGHT), blob(BIAS))
    assert [found.name for found in parse_caffemodel(net, "x")] == ["b", "a"]


def test_name_that_is_not_utf8():
    assert (
        parse_caffemodel(layer(b"a\xff", blob(BIAS)), "x")[0].name == "a\N{REPLACEMENT CHARACTER}"
    )


HUGE = varint(2**64 - 1)
HOSTILE = [
    (b"", "x: not a .caffemodel, or one without weights"),
    (field(1, b"net"), "x: not a .caffemodel, or one without weights"),
    (b"name: 'LeNet'\nlayer {\n}\n", "x: "),
    (varint(1 << 3 | 3), "x: byte 0: wire type 3 is in no .caffemodel"),
    (varint(1 << 3 | 4), "x: byte 0: wire type 4 is in no .caffemodel"),
    (b"\x80" * 20, "x: byte 0: a number of more than 10 bytes"),
    (b"\x80", "x: byte 0: ends inside a number"),
    (varint(100 << 3 | 2), "x: byte 2: ends inside a number"),
    (varint(100 << 3 | 2) + varint(9) + b"abc", "x: byte 0: field 100 has 9 bytes, 3 are left"),
    (varint(100 << 3 | 2) + HUGE, "x: byte 0: field 100 has 18446744073709551615 bytes, 0 are"),
    (varint(5 << 3 | 1) + b"1234567", "x: byte 0: field 5 has 8 bytes, 7 are left"),
    (varint(5 << 3 | 5) + b"123", "x: byte 0: field 5 has 4 bytes, 3 are left"),
    (layer(b"a", field(5, b"1234567")), r"x: byte \d+: 7 bytes of float32 data"),
    (
        layer(b"a", blob(WEIGHT, BIAS.tobytes())),
        "shape 2x3 has 8 bytes of float32 data, must have",
    ),
    (layer(b"a", field(5, WEIGHT.tobytes())), "a blob of shape 0x0x0x0 has 24 bytes"),
    (layer(b"a", field(7, field(1, HUGE))), "an axis of 18446744073709551615, limit 2147483647"),
    (layer(b"a", field(1, 2**40)), "an axis of 1099511627776, limit 2147483647"),
    (layer(b"a", field(7, field(1, b"\1" * 33))), "a blob of more than 32 axes"),
    (layer(b"a", field(7, field(1, 1) * 33)), "a blob of more than 32 axes"),
    (layer(b"a", field(7, field(1, b"\1\x80"))), "ends inside a number"),
    (
        layer(b"a", field(7, field(1, varint(2**31 - 1) * 32))),
        "has 0 bytes of float32 data, must have",
    ),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE)
def test_hostile(content, message):
    with pytest.raises(FormatError, match=message) as raised:
        parse_caffemodel(content, "x")
    assert "\n" not in str(raised.value)


def test_empty_blob_of_huge_axes_takes_no_memory():
    axes = varint(2**31 - 1) * 20 + varint(0)
    blobs = parse_caffemodel(layer(b"a", field(7, field(1, axes))), "x")[0].blobs
    assert [found.shape for found in blobs] == [(0,)]


def test_every_cut_is_found():
    net = new_net()
    for end in range(len(net)):
        with pytest.raises(FormatError, match=r"^x: "):
            parse_caffemodel(net[:end], "x")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_gives_layers_or_a_format_error(data):
    net = bytearray(new_net())
    for _ in range(data.draw(st.integers(1, 3))):
        net[data.draw(st.integers(0, len(net) - 1))] = data.draw(st.integers(0, 255))
    try:
        layers = parse_caffemodel(bytes(net), "x")
    except FormatError:
        return
    assert sum(found.nbytes for part in layers for found in part.blobs) <= len(net)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_layers_or_a_format_error(content):
    try:
        layers = parse_caffemodel(content, "x")
    except FormatError:
        return
    assert layers
