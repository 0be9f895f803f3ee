"""Header and section table of version 2, which cost a small file little (SPEC.md, "Version 2")."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from sigdca.codec.errors import (
    HeaderChecksumError,
    LimitError,
    SectionKindError,
    SectionLengthError,
    SectionOrderError,
    SectionTableError,
)
from sigdca.codec.layout import MAGIC, MAX_FILE_BYTES, Coder, Kind, Part, Section
from sigdca.codec.varint import get_varint, put_varint

_VERSION = struct.Struct("<H")
_CHECKSUM = struct.Struct("<I")
_TABLE_AT = len(MAGIC) + _VERSION.size
_ORDER = {Kind.GRAPH: 0, Kind.METADATA: 1, Kind.LAYER: 2}
_CODERS = {
    Kind.GRAPH: (Coder.ARITHMETIC,),
    Kind.METADATA: (Coder.ARITHMETIC,),
    Kind.LAYER: (Coder.RAW, Coder.RANS, Coder.ARITHMETIC, Coder.SPARSE),
}


def put_file(parts: Sequence[Part]) -> bytes:
    """A whole container from its sections, in their order.

    Raises:
        LimitError: it would have 4 GiB.
    """
    table = b"".join(
        bytes([part.coder << 4 | part.kind])
        + put_varint(len(part.payload))
        + _CHECKSUM.pack(zlib.crc32(part.payload))
        for part in parts
    )
    head = MAGIC + _VERSION.pack(2) + put_varint(len(table)) + table
    total = len(head) + _CHECKSUM.size + sum(len(part.payload) for part in parts)
    if total > MAX_FILE_BYTES:
        raise LimitError(f"container: would have {total} bytes, limit {MAX_FILE_BYTES}")
    checksum = _CHECKSUM.pack(zlib.crc32(head))
    return b"".join([head, checksum, *(part.payload for part in parts)])


def get_table(data: memoryview) -> list[Section]:
    """Reads and checks header and section table; no section's content is looked at.

    Raises:
        VarintError, SectionTableError, HeaderChecksumError, SectionKindError, SectionOrderError,
        SectionLengthError: as they say.
    """
    table_bytes, start = get_varint(data, _TABLE_AT, "header")
    end = start + table_bytes
    if end + _CHECKSUM.size > len(data):
        raise SectionTableError(
            f"container: section table ends at byte {end}, file at {len(data)}"
        )
    (expected,) = _CHECKSUM.unpack_from(data, end)
    got = zlib.crc32(data[:end])
    if got != expected:
        raise HeaderChecksumError(
            f"container: header's checksum is {got:08x}, must be {expected:08x}"
        )
    sections = _get_entries(data[start:end], end + _CHECKSUM.size)
    reach = sections[-1].offset + sections[-1].length if sections else end + _CHECKSUM.size
    if reach != len(data):
        raise SectionLengthError(f"container: sections end at byte {reach}, file at {len(data)}")
    return sections


def _get_entries(table: memoryview, offset: int) -> list[Section]:
    sections: list[Section] = []
    at, num_layers, last = 0, 0, -1
    while at < len(table):
        where = f"section {len(sections)}"
        kind, coder = _get_tag(table[at], where)
        length, at = get_varint(table, at + 1, where)
        if at + _CHECKSUM.size > len(table):
            raise SectionTableError(f"{where}: entry ends behind the table's {len(table)} bytes")
        (crc32,) = _CHECKSUM.unpack_from(table, at)
        at += _CHECKSUM.size
        if _ORDER[kind] < last or (_ORDER[kind] == last and kind is not Kind.LAYER):
            raise SectionOrderError(
                f"{where}: {kind.name.lower()} must not follow {sections[-1].kind.name.lower()}"
            )
        last = _ORDER[kind]
        number = None
        if kind is Kind.LAYER:
            number, num_layers = num_layers, num_layers + 1
        sections.append(Section(kind, coder, number, offset, length, crc32))
        offset += length
    return sections


def _get_tag(tag: int, where: str) -> tuple[Kind, Coder]:
    kinds = {int(kind): kind for kind in _ORDER}
    if tag & 15 not in kinds:
        raise SectionKindError(f"{where}: unknown kind {tag & 15}, must be 0, 1 or 6")
    kind = kinds[tag & 15]
    if tag >> 4 not in _CODERS[kind]:
        *others, last = (str(int(coder)) for coder in _CODERS[kind])
        allowed = f"{', '.join(others)} or {last}" if others else last
        raise SectionKindError(
            f"{where}: {kind.name.lower()} must have coder {allowed}, got {tag >> 4}"
        )
    return kind, Coder(tag >> 4)
