"""Whole numbers below 2^32 in as few bytes as they need (SPEC.md, "Numbers")."""

from __future__ import annotations

from sigdca.codec.errors import VarintError

MAX_VARINT = 2**32 - 1
_MAX_BYTES = 5


def put_varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the top bit says that more follow.

    Raises:
        VarintError: `value` is negative or has more than 32 bits.
    """
    if not 0 <= value <= MAX_VARINT:
        raise VarintError(f"number {value} is outside 0..{MAX_VARINT}")
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def get_varint(data: bytes | memoryview, start: int, where: str) -> tuple[int, int]:
    """Reads the number that begins at byte `start`.

    Returns:
        The number, and where the next thing begins.

    Raises:
        VarintError: it ends early, exceeds 32 bits, or has a needless byte; `where` opens the
            message.
    """
    value = 0
    for index in range(_MAX_BYTES):
        if start + index >= len(data):
            raise VarintError(f"{where}: number at byte {start} ends early, at byte {len(data)}")
        byte = data[start + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            if index and byte == 0:
                raise VarintError(f"{where}: number {value} at byte {start} has a needless byte")
            if value > MAX_VARINT:
                break
            return value, start + index + 1
    raise VarintError(f"{where}: number at byte {start} exceeds {MAX_VARINT}")
