"""Version 2: header, section table, coded bytes and layers."""

import struct
import zlib
from contextlib import suppress

import numpy as np

from sigdca.codec import Graph, Op
from sigdca.codec.arithmetic import Encoder
from sigdca.codec.errors import LevelError
from sigdca.codec.graph_bytes import put_graph
from sigdca.codec.layout import Coder, Kind, Part
from sigdca.codec.layout_v2 import put_file
from sigdca.codec.levels import Limits, code_levels
from sigdca.codec.text_model import put_bytes
from sigdca.codec.varint import put_varint

FC = Op("fc", "ip", (1,), {"out_features": 2, "bias": 1})
NET = put_graph(Graph((1, 1, 5), 1.0, (Op("flatten", "", (0,)), FC)))
HALF, INFINITY, MINUS = 0x3F00, 0x7F80, 0xBF00  # upper halves of 0.5, infinity, -0.5
ONE, TWO, NAN = 0x3F800000, 0x40000000, 0x7FC00000


def coded(data, count=None):
    return put_varint(len(data) if count is None else count) + put_bytes(data)


GRAPH = Part(Kind.GRAPH, None, coded(NET), Coder.ARITHMETIC)
METADATA = Part(Kind.METADATA, None, coded(b'{"a":"b"}'), Coder.ARITHMETIC)


def layer(payload, coder=Coder.ARITHMETIC):
    return Part(Kind.LAYER, 0, payload, coder)


def number(coder, value):
    coder.plain(value.bit_length(), 5)
    coder.plain(value, value.bit_length())


def stream(*, step=HALF, limits=(1, 1), levels=((1, 0, -1, 0, 0), (0, 0, 0, 0, 1)), book=()):
    """A bias of zeros, then a weight on a grid, or of a codebook."""
    coder = Encoder()
    coder.plain(0, 2)
    coder.plain(3 if book else 2, 2)
    if not book:
        coder.plain(step, 16)
    for limit in limits:
        number(coder, limit)
    for bits in book:
        coder.plain(bits, 32)
    most = max(1, int(np.abs(levels).max()))
    allowed = Limits(*(max(limit, 0) for limit in limits)) if sum(limits) else Limits(most, most)
    with suppress(LevelError):  # an encoder notices as well, but it is written by then
        code_levels(coder, np.array(levels, np.int32), 5, allowed, "")
    return coder.finish()


def raw_bias(bits):
    coder = Encoder()
    coder.plain(1, 2)
    for value in (bits, ONE):
        coder.plain(value, 32)
    coder.plain(0, 2)
    return coder.finish()


def net(*parts):
    return put_file([GRAPH, *parts])


def entry(tag, payload):
    return bytes([tag]) + put_varint(len(payload)) + struct.pack("<I", zlib.crc32(payload))


def assemble(table, body, table_bytes=None):
    size = put_varint(len(table) if table_bytes is None else table_bytes)
    head = b"\x89DCA\r\n\x1a\n\x02\x00" + size + table
    return head + struct.pack("<I", zlib.crc32(head)) + body


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


GOOD = net(layer(stream()))
RAW = struct.pack("<12f", *range(12))
GRAPH_ENTRY = entry(0x30, GRAPH.payload)

# name, the error it must give, what it is, the file
CASES = [
    ("v2-header-cut", "VarintError", "ends within the table's length", GOOD[:10]),
    (
        "v2-table-long",
        "SectionTableError",
        "a table longer than the file",
        assemble(b"", b"", 2**32 - 1),
    ),
    ("v2-header-flip", "HeaderChecksumError", "a bit flipped in the table", flip(GOOD, 12)),
    (
        "v2-entry-cut",
        "SectionTableError",
        "the table ends within a checksum",
        assemble(GRAPH_ENTRY[:-1], GRAPH.payload),
    ),
    ("v2-cut", "SectionLengthError", "the last byte is missing", GOOD[:-1]),
    ("v2-appended", "SectionLengthError", "a byte behind the end", GOOD + b"\1"),
    ("v2-kind-2", "SectionKindError", "a kind of version 1", assemble(entry(2, b""), b"")),
    (
        "v2-graph-raw",
        "SectionKindError",
        "a graph that is not coded",
        assemble(entry(0, b""), b""),
    ),
    (
        "v2-layer-huffman",
        "SectionKindError",
        "a layer with the coder of version 1",
        assemble(GRAPH_ENTRY + entry(0x16, b""), GRAPH.payload),
    ),
    ("v2-two-graphs", "SectionOrderError", "two graphs", net(GRAPH)),
    (
        "v2-backwards",
        "SectionOrderError",
        "the metadata behind a layer",
        net(layer(stream()), METADATA),
    ),
    ("v2-no-graph", "SectionMissingError", "a layer, but no graph", put_file([layer(b"")])),
    ("v2-no-layer", "SectionMissingError", "a graph, but no layer", net()),
    (
        "v2-two-layers",
        "SectionOwnerError",
        "a layer more than the graph has",
        net(layer(stream()), layer(stream())),
    ),
    (
        "v2-layer-flip",
        "SectionChecksumError",
        "a bit flipped in a layer",
        flip(GOOD, len(GOOD) - 2),
    ),
    (
        "v2-graph-flip",
        "SectionChecksumError",
        "a bit flipped in the graph",
        flip(GOOD, len(GOOD) - len(stream()) - 2),
    ),
    (
        "v2-graph-large",
        "LimitError",
        "a graph of 4 GiB in no bytes",
        put_file([Part(Kind.GRAPH, None, put_varint(2**32 - 1), Coder.ARITHMETIC)]),
    ),
    (
        "v2-graph-short",
        "TrailingBitsError",
        "coded bytes behind the graph's end",
        put_file([Part(Kind.GRAPH, None, coded(NET * 3, 1), Coder.ARITHMETIC)]),
    ),
    (
        "v2-graph-zero",
        "TrailingBitsError",
        "coded bytes with a zero byte at the end",
        put_file([Part(Kind.GRAPH, None, coded(NET) + b"\0", Coder.ARITHMETIC)]),
    ),
    (
        "v2-metadata-list",
        "MetadataError",
        "metadata that is a list",
        net(Part(Kind.METADATA, None, coded(b"[]"), Coder.ARITHMETIC), layer(stream())),
    ),
    ("v2-raw-short", "SectionLengthError", "a raw layer cut", net(layer(RAW[:-1], Coder.RAW))),
    (
        "v2-raw-nan",
        "ValueRangeError",
        "a raw weight that is not a number",
        net(layer(RAW[:20] + struct.pack("<I", NAN) + RAW[24:], Coder.RAW)),
    ),
    ("v2-bias-nan", "ValueRangeError", "a bias that is not a number", net(layer(raw_bias(NAN)))),
    (
        "v2-stream-long",
        "TrailingBitsError",
        "a stream that goes on",
        net(layer(stream() + b"\7" * 9)),
    ),
    (
        "v2-stream-zero",
        "TrailingBitsError",
        "a zero byte at the end",
        net(layer(stream() + b"\0")),
    ),
    ("v2-grid-minus", "CodebookError", "a grid of negative steps", net(layer(stream(step=MINUS)))),
    (
        "v2-grid-infinite",
        "CodebookError",
        "a grid of infinite steps",
        net(layer(stream(step=INFINITY))),
    ),
    (
        "v2-grid-far",
        "ValueRangeError",
        "a grid that leaves the floats",
        net(layer(stream(step=0x7F00, limits=(1, 9)))),
    ),
    ("v2-no-values", "CodebookError", "a grid without values", net(layer(stream(limits=(0, 0))))),
    (
        "v2-many-values",
        "CodebookError",
        "a grid of 65,536 values",
        net(layer(stream(limits=(32768, 32768)))),
    ),
    (
        "v2-book-down",
        "CodebookError",
        "a codebook that descends",
        net(layer(stream(limits=(0, 2), book=(TWO, ONE), levels=((1, 2, 0, 0, 0), (0,) * 5)))),
    ),
    (
        "v2-book-sign",
        "CodebookError",
        "a positive value among the negative ones",
        net(layer(stream(book=(ONE, TWO)))),
    ),
    (
        "v2-book-zero",
        "CodebookError",
        "a codebook with 0",
        net(layer(stream(limits=(0, 2), book=(0, ONE), levels=((1, 2, 0, 0, 0), (0,) * 5)))),
    ),
    (
        "v2-book-nan",
        "ValueRangeError",
        "a codebook with a value that is not a number",
        net(layer(stream(limits=(0, 2), book=(ONE, NAN), levels=((1, 2, 0, 0, 0), (0,) * 5)))),
    ),
    (
        "v2-level-beyond",
        "LevelError",
        "level 3 of a tensor that has 2 values",
        net(layer(stream(limits=(0, 2), levels=((3, 0, 0, 0, 0), (0,) * 5)))),
    ),
]
