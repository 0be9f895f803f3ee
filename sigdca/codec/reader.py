"""A container opened: graph and metadata at once, a tensor when it is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import layout_v2
from sigdca.codec.errors import (
    LimitError,
    MetadataError,
    SectionMissingError,
    SectionOwnerError,
)
from sigdca.codec.graph import MAX_WEIGHTS, expected_tensors
from sigdca.codec.graph_bytes import get_graph
from sigdca.codec.layers import Decoded, get_layer, members_of
from sigdca.codec.layout import Kind, Section, content, get_table, version_of
from sigdca.codec.parallel import num_threads
from sigdca.codec.tensors import get_tensor
from sigdca.codec.text_model import get_bytes
from sigdca.codec.varint import get_varint

MAX_METADATA_BYTES = 65536
MAX_GRAPH_BYTES = 65536  # of version 2, where a few bytes may stand for many
_FORMS = ({Kind.DENSE}, {Kind.CODEBOOK, Kind.INDICES}, {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS})


class ContainerReader:
    """A container whose tensors are decoded one at a time.

    Attributes:
        graph: the network.
        metadata: what the writer noted.
        version: of the format.
        shapes: tensor name to shape, in the container's order.
        sections: the section table.
        threads: how many parts of a large layer are read at once.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        max_weights: int = MAX_WEIGHTS,
        threads: int | None = None,
    ) -> None:
        """Reads header, graph and metadata; no weight.

        Args:
            data: the whole file.
            max_weights: the most weights that the graph may declare, to bound memory.
            threads: how many parts of a large layer are read at once; None: as many as there are
                processors.

        Raises:
            FormatError: one of `sigdca.codec.errors`, with one line that says where.
        """
        self._data = memoryview(data).cast("B")
        self.threads = num_threads(threads)
        self.version = version_of(self._data)
        self.sections = (get_table, layout_v2.get_table)[self.version - 1](self._data)
        own = {section.kind: section for section in self.sections if section.tensor is None}
        if Kind.GRAPH not in own:
            raise SectionMissingError("container: has no graph section")
        self.graph = get_graph(self._own(own[Kind.GRAPH], "graph", MAX_GRAPH_BYTES))
        self.shapes = expected_tensors(self.graph)
        num_weights = sum(math.prod(shape) for shape in self.shapes.values())
        if num_weights > max_weights:
            raise LimitError(f"graph: declares {num_weights} weights, limit {max_weights}")
        self.metadata: dict[str, str] = {}
        if Kind.METADATA in own:
            text = self._own(own[Kind.METADATA], "metadata", MAX_METADATA_BYTES)
            self.metadata = get_metadata(text)
        self._layers = _Layers(self) if self.version == 2 else None
        self._parts = self._by_tensor() if self._layers is None else self._layers.sections()

    def sections_of(self, name: str) -> Mapping[Kind, Section]:
        """The sections of tensor `name`."""
        return self._parts[name]

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Decodes tensor `name`: float32, in its shape.

        Raises:
            FormatError: one of `sigdca.codec.errors`, with one line that says where.
        """
        return self.tensor_and_codebook(name)[0]

    def tensor_and_codebook(
        self, name: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """As `tensor`, and the codebook, float32 [k], or None for a tensor that is raw."""
        where = describe(name)
        if self._layers is not None:
            weights, codebook = self._layers.tensor(name)
            return weights.reshape(self.shapes[name]), codebook
        payloads = {
            kind: content(self._data, section, f"{where}: {kind.name.lower()}")
            for kind, section in self._parts[name].items()
        }
        shape = self.shapes[name]
        weights, codebook = get_tensor(payloads, math.prod(shape), where)
        return weights.reshape(shape), codebook

    def payload(self, section: Section, where: str) -> memoryview:
        """A section's bytes.

        Raises:
            SectionChecksumError: they do not give its checksum; `where` opens the message.
        """
        return content(self._data, section, where)

    def _own(self, section: Section, where: str, limit: int) -> memoryview:
        payload = content(self._data, section, where)
        if self.version == 1:
            return payload
        count, at = get_varint(payload, 0, where)
        return memoryview(get_bytes(payload[at:], count, where, limit))

    def _by_tensor(self) -> dict[str, dict[Kind, Section]]:
        names = list(self.shapes)
        parts: dict[str, dict[Kind, Section]] = {name: {} for name in names}
        for section in self.sections:
            if section.tensor is None:
                continue
            if section.tensor >= len(names):
                raise SectionOwnerError(
                    f"container: {section.kind.name.lower()} section of tensor {section.tensor}, "
                    f"the graph has {len(names)} tensors"
                )
            parts[names[section.tensor]][section.kind] = section
        for name, found in parts.items():
            if set(found) not in _FORMS:
                got = " and ".join(kind.name.lower() for kind in found) or "nothing"
                raise SectionMissingError(
                    f"{describe(name)}: must have codebook and indices, perhaps gaps, or dense "
                    f"alone, got {got}"
                )
        return parts


class _Layers:
    """The layers of a container of version 2."""

    def __init__(self, reader: ContainerReader) -> None:
        self._reader = reader
        self._members = list(members_of(reader.graph).items())
        self._places = {
            member.name: (number, index)
            for number, (_, members) in enumerate(self._members)
            for index, member in enumerate(members)
        }
        self._sections = [part for part in reader.sections if part.kind is Kind.LAYER]
        if len(self._sections) < len(self._members):
            name = self._members[len(self._sections)][0]
            raise SectionMissingError(f"layer '{name}': has no section")
        if len(self._sections) > len(self._members):
            raise SectionOwnerError(
                f"container: has {len(self._sections)} layer sections, the graph has "
                f"{len(self._members)} layers"
            )
        self._last: tuple[int, list[Decoded]] = (-1, [])

    def sections(self) -> dict[str, dict[Kind, Section]]:
        """Each tensor's; a layer's section is its weight's."""
        return {
            name: {Kind.LAYER: self._sections[number]}
            if index == len(self._members[number][1]) - 1
            else {}
            for name, (number, index) in self._places.items()
        }

    def tensor(self, name: str) -> Decoded:
        """Decodes a tensor; its layer's others are kept for the next call."""
        number, index = self._places[name]
        if self._last[0] != number:
            layer, members = self._members[number]
            section = self._sections[number]
            where = f"layer '{layer}'"
            payload = self._reader.payload(section, where)
            named = [member._replace(name=describe(member.name)) for member in members]
            self._last = (
                number,
                get_layer(named, section.coder, payload, where, threads=self._reader.threads),
            )
        return self._last[1][index]


def describe(name: str) -> str:
    """A tensor's name as messages say it: its layer, and which part if not the weights."""
    layer, _, part = name.rpartition(".")
    return f"layer '{layer}'" if part == "weight" else f"layer '{layer}': {part}"


def put_metadata(metadata: Mapping[str, str]) -> bytes:
    """Canonical JSON: keys sorted, no spaces, UTF-8 as it is.

    Raises:
        MetadataError: a key or value is no Unicode text, or the whole exceeds 65,536 bytes.
    """
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            got = f"{type(key).__name__} to {type(value).__name__}"
            raise MetadataError(f"metadata: must be text to text, got {got} at {str(key)[:40]!r}")
    text = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise MetadataError(f"metadata: not Unicode text at character {error.start}") from error
    if len(data) > MAX_METADATA_BYTES:
        raise MetadataError(f"metadata: has {len(data)} bytes, limit {MAX_METADATA_BYTES}")
    return data


def get_metadata(data: memoryview) -> dict[str, str]:
    """Reads a metadata section.

    Raises:
        MetadataError: it is too large, not JSON, not an object of strings, empty or not canonical.
    """
    if len(data) > MAX_METADATA_BYTES:
        raise MetadataError(f"metadata: has {len(data)} bytes, limit {MAX_METADATA_BYTES}")
    try:
        loaded = json.loads(bytes(data).decode())
    except (ValueError, RecursionError):
        loaded = None  # how deep it may go before this differs between Pythons: one message
    if not isinstance(loaded, dict) or not loaded:
        raise MetadataError("metadata: must be a JSON object in UTF-8 with at least one key")
    if put_metadata(loaded) != data:
        raise MetadataError("metadata: must be canonical: keys sorted, none twice, no spaces")
    return loaded
