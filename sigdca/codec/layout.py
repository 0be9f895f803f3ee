"""Header and section table: what lies where in a container (SPEC.md, "File")."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sigdca.codec.errors import (
    FileLengthError,
    HeaderChecksumError,
    LimitError,
    MagicError,
    SectionChecksumError,
    SectionKindError,
    SectionLengthError,
    SectionOrderError,
    SectionTableError,
    VersionError,
)
from sigdca.codec.varint import get_varint, put_varint

MAGIC = b"\x89DCA\r\n\x1a\n"
VERSIONS = (1, 2)
MAX_FILE_BYTES = 2**32 - 1
MAX_SECTIONS = 2**16 - 1
_HEADER = struct.Struct("<8sHHII")  # magic, version, sections, file bytes, table bytes
_CHECKSUM = struct.Struct("<I")
MIN_FILE_BYTES = _HEADER.size + _CHECKSUM.size


class Kind(IntEnum):
    """What a section holds; the numbers are the file's."""

    GRAPH = 0
    METADATA = 1
    CODEBOOK = 2
    INDICES = 3
    GAPS = 4
    DENSE = 5
    LAYER = 6


class Coder(IntEnum):
    """How its bytes are to be read."""

    RAW = 0
    HUFFMAN = 1
    RANS = 2
    ARITHMETIC = 3
    SPARSE = 4


_CODED = {Kind.INDICES, Kind.GAPS}
_OF_FILE = {Kind.GRAPH, Kind.METADATA}


@dataclass(frozen=True)
class Section:
    """One line of the section table.

    Attributes:
        kind: what it holds.
        coder: how it is coded.
        tensor: the tensor's number in the order of `expected_tensors`, in version 2 its layer's
            number in the graph's order; None for the file's own.
        offset: its first byte in the file.
        length: its bytes.
        crc32: their CRC-32 (as in zlib).
    """

    kind: Kind
    coder: Coder
    tensor: int | None
    offset: int
    length: int
    crc32: int


@dataclass(frozen=True)
class Part:
    """A section to be written."""

    kind: Kind
    tensor: int | None
    payload: bytes
    coder: Coder = Coder.RAW


def coder_of(kind: Kind) -> Coder:
    """What version 1 codes a section of this kind with."""
    return Coder.HUFFMAN if kind in _CODED else Coder.RAW


def entry_bytes(tensor: int, length: int) -> int:
    """What a tensor's section of `length` bytes costs in the table."""
    return 1 + len(put_varint(tensor)) + len(put_varint(length)) + _CHECKSUM.size


def put_file(parts: Sequence[Part]) -> bytes:
    """A whole container of version 1 from its sections, in their order.

    Raises:
        LimitError: there are more than 65,535 sections or 4 GiB.
    """
    table = b"".join(_put_entry(part) for part in parts)
    total = MIN_FILE_BYTES + len(table) + sum(len(part.payload) for part in parts)
    if total > MAX_FILE_BYTES:
        raise LimitError(f"container: would have {total} bytes, limit {MAX_FILE_BYTES}")
    if len(parts) > MAX_SECTIONS:
        raise LimitError(f"container: would have {len(parts)} sections, limit {MAX_SECTIONS}")
    head = _HEADER.pack(MAGIC, 1, len(parts), total, len(table)) + table
    checksum = _CHECKSUM.pack(zlib.crc32(head))
    return b"".join([head, checksum, *(part.payload for part in parts)])


def version_of(data: memoryview) -> int:
    """The version of a container.

    Raises:
        MagicError, FileLengthError, VersionError: it is none, too short, or of an unknown version.
    """
    start = bytes(data[: len(MAGIC)])
    if start != MAGIC[: len(start)] or not start:
        begin = start.hex(" ") or "nothing"
        raise MagicError(f"container: begins with {begin}, must with {MAGIC.hex(' ')}")
    if len(data) < len(MAGIC) + 2:
        raise FileLengthError(
            f"container: has {len(data)} bytes, its version ends at byte {len(MAGIC) + 2}"
        )
    version = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise VersionError(f"container: is of version {version}, this reader knows {known}")
    return version


def get_table(data: memoryview) -> list[Section]:
    """Reads and checks header and section table of version 1; no section's content is looked at.

    Raises:
        FileLengthError, HeaderChecksumError, SectionTableError,
        SectionKindError, SectionOrderError, SectionLengthError, VarintError: as they say.
    """
    if len(data) < MIN_FILE_BYTES:
        raise FileLengthError(
            f"container: has {len(data)} bytes, a header alone has {MIN_FILE_BYTES}"
        )
    _, _, num_sections, total, table_bytes = _HEADER.unpack_from(data)
    if total != len(data):
        raise FileLengthError(f"container: has {len(data)} bytes, its header promises {total}")
    end = _HEADER.size + table_bytes
    if end + _CHECKSUM.size > total:
        raise SectionTableError(f"container: section table ends at byte {end}, file at {total}")
    (expected,) = _CHECKSUM.unpack_from(data, end)
    got = zlib.crc32(data[:end])
    if got != expected:
        raise HeaderChecksumError(
            f"container: header's checksum is {got:08x}, must be {expected:08x}"
        )
    table = data[_HEADER.size : end]
    sections = _get_entries(table, num_sections, end + _CHECKSUM.size)
    reach = sections[-1].offset + sections[-1].length if sections else end + _CHECKSUM.size
    if reach != total:
        raise SectionLengthError(f"container: sections end at byte {reach}, file at {total}")
    return sections


def content(data: memoryview, section: Section, where: str) -> memoryview:
    """A section's bytes, once their checksum is found right.

    Raises:
        SectionChecksumError: it is not; `where` opens the message.
    """
    payload = data[section.offset : section.offset + section.length]
    got = zlib.crc32(payload)
    if got != section.crc32:
        raise SectionChecksumError(
            f"{where} section's checksum is {got:08x}, must be {section.crc32:08x}"
        )
    return payload


def _put_entry(part: Part) -> bytes:
    tensor = b"" if part.tensor is None else put_varint(part.tensor)
    if len(part.payload) > MAX_FILE_BYTES:
        raise LimitError(
            f"container: section of {len(part.payload)} bytes, limit {MAX_FILE_BYTES}"
        )
    tag = bytes([coder_of(part.kind) << 4 | part.kind])
    checksum = _CHECKSUM.pack(zlib.crc32(part.payload))
    return tag + tensor + put_varint(len(part.payload)) + checksum


def _get_entries(table: memoryview, num_sections: int, offset: int) -> list[Section]:
    sections: list[Section] = []
    at = 0
    for number in range(num_sections):
        where = f"section {number}"
        if at == len(table):
            raise SectionTableError(
                f"container: table ends after {number} sections, header promises {num_sections}"
            )
        kind, coder = _get_tag(table[at], where)
        at += 1
        tensor = None
        if kind not in _OF_FILE:
            tensor, at = get_varint(table, at, where)
        length, at = get_varint(table, at, where)
        if at + _CHECKSUM.size > len(table):
            raise SectionTableError(f"{where}: entry ends behind the table's {len(table)} bytes")
        (crc32,) = _CHECKSUM.unpack_from(table, at)
        at += _CHECKSUM.size
        section = Section(kind, coder, tensor, offset, length, crc32)
        if sections and _place(section) <= _place(sections[-1]):
            raise SectionOrderError(
                f"{where}: {_label(section)} must not follow {_label(sections[-1])}"
            )
        sections.append(section)
        offset += length
    if at != len(table):
        raise SectionTableError(
            f"container: table goes on to byte {len(table)}, its {num_sections} sections to {at}"
        )
    return sections


def _get_tag(tag: int, where: str) -> tuple[Kind, Coder]:
    try:
        kind = Kind(tag & 15)
    except ValueError:
        kind = Kind.LAYER
    if kind is Kind.LAYER:
        raise SectionKindError(f"{where}: unknown kind {tag & 15}, the last known is {Kind.DENSE}")
    if tag >> 4 != coder_of(kind):
        raise SectionKindError(
            f"{where}: {kind.name.lower()} must have coder {coder_of(kind)}, got {tag >> 4}"
        )
    return kind, coder_of(kind)


def _place(section: Section) -> tuple[int, int]:
    return (-1 if section.tensor is None else section.tensor), section.kind


def _label(section: Section) -> str:
    of = "" if section.tensor is None else f" of tensor {section.tensor}"
    return f"{section.kind.name.lower()}{of}"
