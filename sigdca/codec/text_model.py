"""Short texts and graphs as coded bytes (SPEC.md, "Coded bytes").

A byte's bits are coded from the top one down; what is likely is learnt from the bytes before, and
first of all from a primer: graphs and metadata as they often are, which are never written.
"""

from __future__ import annotations

from sigdca.codec.arithmetic import Coder, Decoder, Encoder, Table
from sigdca.codec.errors import LimitError
from sigdca.codec.primer import PRIMER

_PAIRS = 256


class _Tables:
    def __init__(self) -> None:
        self.alone = Table(256)
        self.after = Table(256 * 256)
        self.after_two = Table(256 * _PAIRS)


def put_bytes(data: bytes) -> bytes:
    """The stream of these bytes; their number has to be known."""
    coder = Encoder()
    tables = _primed()
    _code(coder, tables, data, len(data))
    return coder.finish()


def get_bytes(stream: bytes | memoryview, count: int, where: str, limit: int) -> bytes:
    """Reads back so many bytes.

    Raises:
        LimitError: they would be more than `limit`.
        TrailingBitsError: the stream goes on behind them.
    """
    if count > limit:
        raise LimitError(f"{where}: has {count} bytes, limit {limit}")
    coder = Decoder(stream, where)
    data = _code(coder, _primed(), None, count)
    coder.finish()
    return data


def _primed() -> _Tables:
    tables = _Tables()
    _code(Encoder(), tables, PRIMER, len(PRIMER))
    return tables


def _code(coder: Coder, tables: _Tables, data: bytes | None, count: int) -> bytes:
    out = bytearray()
    last, pair = 0, 0
    for index in range(count):
        byte = 0 if data is None else data[index]
        node = 1
        for shift in range(7, -1, -1):
            bit = coder.bit(
                byte >> shift & 1,
                (tables.alone, node),
                (tables.after, 256 * last + node),
                (tables.after_two, 256 * pair + node),
            )
            node = 2 * node + bit
        out.append(node & 255)
        pair = (7 * last ^ node & 255) % _PAIRS
        last = node & 255
    return bytes(out)
