import pytest

from sigdca.codec.errors import VarintError
from sigdca.codec.varint import get_varint, put_varint


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (300, "ac 02"),
        (2**32 - 1, "ff ff ff ff 0f"),
    ],
)
def test_literal_bytes(value, data):
    assert put_varint(value) == bytes.fromhex(data)
    assert get_varint(b"\xff" + bytes.fromhex(data) + b"\xff", 1, "x") == (
        value,
        1 + len(bytes.fromhex(data)),
    )


@pytest.mark.parametrize("value", [-1, 2**32])
def test_refuses_to_write(value):
    with pytest.raises(VarintError, match=rf"number {value} is outside 0\.\.4294967295"):
        put_varint(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "x: number at byte 0 ends early, at byte 0"),
        ("80", "x: number at byte 0 ends early, at byte 1"),
        ("80 00", "x: number 0 at byte 0 has a needless byte"),
        ("ff 80 00", "x: number 127 at byte 0 has a needless byte"),
        ("ff ff ff ff 10", "x: number at byte 0 exceeds 4294967295"),
        ("ff ff ff ff ff 00", "x: number at byte 0 exceeds 4294967295"),
    ],
)
def test_refuses_to_read(data, message):
    with pytest.raises(VarintError) as caught:
        get_varint(bytes.fromhex(data), 0, "x")
    assert str(caught.value) == message
