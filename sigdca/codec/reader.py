"""A container opened: graph and metadata at once, a tensor when it is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.errors import (
    LimitError,
    MetadataError,
    SectionMissingError,
    SectionOwnerError,
)
from sigdca.codec.graph import MAX_WEIGHTS, expected_tensors
from sigdca.codec.graph_bytes import get_graph
from sigdca.codec.layout import Kind, Section, content, get_table
from sigdca.codec.tensors import get_tensor

MAX_METADATA_BYTES = 65536
_FORMS = ({Kind.DENSE}, {Kind.CODEBOOK, Kind.INDICES}, {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS})


class ContainerReader:
    """A container whose tensors are decoded one at a time.

    Attributes:
        graph: the network.
        metadata: what the writer noted.
        shapes: tensor name to shape, in the container's order.
        sections: the section table.
    """

    def __init__(self, data: bytes | memoryview, max_weights: int = MAX_WEIGHTS) -> None:
        """Reads header, graph and metadata; no weight.

        Args:
            data: the whole file.
            max_weights: the most weights that the graph may declare, to bound memory.

        Raises:
            FormatError: one of `sigdca.codec.errors`, with one line that says where.
        """
        self._data = memoryview(data).cast("B")
        self.sections = get_table(self._data)
        own = {section.kind: section for section in self.sections if section.tensor is None}
        if Kind.GRAPH not in own:
            raise SectionMissingError("container: has no graph section")
        self.graph = get_graph(content(self._data, own[Kind.GRAPH], "graph"))
        self.shapes = expected_tensors(self.graph)
        num_weights = sum(math.prod(shape) for shape in self.shapes.values())
        if num_weights > max_weights:
            raise LimitError(f"graph: declares {num_weights} weights, limit {max_weights}")
        self.metadata: dict[str, str] = {}
        if Kind.METADATA in own:
            self.metadata = get_metadata(content(self._data, own[Kind.METADATA], "metadata"))
        self._parts = self._by_tensor()

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
        payloads = {
            kind: content(self._data, section, f"{where}: {kind.name.lower()}")
            for kind, section in self._parts[name].items()
        }
        shape = self.shapes[name]
        weights, codebook = get_tensor(payloads, math.prod(shape), where)
        return weights.reshape(shape), codebook

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
