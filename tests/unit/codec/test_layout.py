import struct
import zlib

import pytest

from sigdca.codec import layout
from sigdca.codec.errors import (
    FileLengthError,
    HeaderChecksumError,
    LimitError,
    SectionChecksumError,
)
from sigdca.codec.layout import (
    MIN_FILE_BYTES,
    Coder,
    Kind,
    Part,
    Section,
    content,
    entry_bytes,
    get_table,
    put_file,
)
from sigdca.errors import FormatError

PARTS = [
    Part(Kind.GRAPH, None, b"graph"),
    Part(Kind.CODEBOOK, 3, b""),
    Part(Kind.INDICES, 3, b"i" * 200),
    Part(Kind.DENSE, 300, b"dense"),
]


def test_literal_bytes():
    head = b"\x89DCA\r\n\x1a\n" + struct.pack("<HHII", 1, 1, 35, 6)
    head += bytes([0, 5]) + struct.pack("<I", zlib.crc32(b"graph"))
    literal = head + struct.pack("<I", zlib.crc32(head)) + b"graph"
    assert put_file(PARTS[:1]) == literal


def test_round_trip():
    data = memoryview(put_file(PARTS))
    sections = get_table(data)
    assert [(s.kind, s.tensor, bytes(content(data, s, "x"))) for s in sections] == [
        (part.kind, part.tensor, part.payload) for part in PARTS
    ]
    assert sections[2].coder == Coder.HUFFMAN
    table_bytes = 6 + sum(entry_bytes(p.tensor, len(p.payload)) for p in PARTS[1:])
    assert sections[0].offset == MIN_FILE_BYTES + table_bytes


def test_contents_are_not_looked_at_before_they_are_asked_for():
    data = bytearray(put_file(PARTS))
    data[-1] ^= 1
    view = memoryview(data)
    *others, last = get_table(view)
    for section in others:
        content(view, section, "x")
    message = r"^layer 'x': dense section's checksum is \w{8}, must be \w{8}$"
    with pytest.raises(SectionChecksumError, match=message):
        content(view, last, "layer 'x': dense")


def test_every_bit_of_header_and_table_counts():
    good = put_file(PARTS)
    for place in range(len(good) - 210):
        for bit in range(8):
            data = bytearray(good)
            data[place] ^= 1 << bit
            with pytest.raises(FormatError):
                get_table(memoryview(data))


def test_checksum_covers_the_table():
    data = bytearray(put_file(PARTS))
    data[21] ^= 1
    with pytest.raises(HeaderChecksumError, match=r"checksum is \w{8}, must be \w{8}"):
        get_table(memoryview(data))


def test_says_how_long_a_file_must_be():
    data = put_file(PARTS)
    message = f"container: has {len(data) - 3} bytes, its header promises {len(data)}"
    with pytest.raises(FileLengthError, match=message):
        get_table(memoryview(data[:-3]))


def test_refuses_to_write_more_than_the_header_can_say(monkeypatch):
    monkeypatch.setattr(layout, "MAX_FILE_BYTES", 250)
    with pytest.raises(LimitError, match=r"would have 2\d\d bytes, limit 250"):
        put_file(PARTS)
    monkeypatch.setattr(layout, "MAX_FILE_BYTES", 199)
    with pytest.raises(LimitError, match="section of 200 bytes, limit 199"):
        put_file(PARTS)


def test_refuses_to_write_too_many_sections():
    parts = [Part(Kind.DENSE, number, b"") for number in range(65536)]
    with pytest.raises(LimitError, match="would have 65536 sections, limit 65535"):
        put_file(parts)
    assert len(get_table(memoryview(put_file(parts[1:])))) == 65535


def test_a_section_knows_its_place():
    section = get_table(memoryview(put_file(PARTS[:1])))[0]
    assert section == Section(Kind.GRAPH, Coder.RAW, None, 30, 5, zlib.crc32(b"graph"))
