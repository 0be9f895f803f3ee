"""The container: a network's graph and weights in one file (SPEC.md), written and read whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import layout_v2
from sigdca.codec.errors import CoderError, LimitError, TensorError, ValueRangeError
from sigdca.codec.graph import MAX_WEIGHTS, Graph, Shape, expected_tensors
from sigdca.codec.graph_bytes import put_graph
from sigdca.codec.layers import Member, members_of, put_layer
from sigdca.codec.layout import Coder, Kind, Part, put_file
from sigdca.codec.parallel import in_order, num_threads
from sigdca.codec.reader import MAX_GRAPH_BYTES, ContainerReader, describe, put_metadata
from sigdca.codec.tensors import put_tensor
from sigdca.codec.text_model import put_bytes
from sigdca.codec.varint import put_varint
from sigdca.errors import FormatError, StorageError

CODERS = ("huffman", "rans", "arithmetic")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Container:
    """A container, decoded.

    Attributes:
        graph: the network.
        tensors: its weights, float32, named and laid out as in the torch `state_dict`.
        metadata: what the writer noted.
    """

    graph: Graph
    tensors: dict[str, NDArray[np.float32]]
    metadata: dict[str, str]


def encode_container(
    graph: Graph,
    tensors: Mapping[str, NDArray[np.float32]],
    *,
    coder: str = "huffman",
    metadata: Mapping[str, str] = _NOTHING,
    threads: int | None = None,
) -> bytes:
    """Packs a network without loss: zeros and shared values are found, and used where they pay.

    With `huffman`, a container of version 1: every tensor takes whichever is smallest: raw
    float32; a codebook and an index for every weight; a codebook, gaps, and an index for every
    non-zero weight. With `arithmetic`, one of version 2, the smallest; with `rans`, one of version
    2 that is the fastest to write and to open, large layers by rANS, small ones arithmetically.
    Equal arguments give equal bytes.

    Args:
        graph: the network.
        tensors: float32 arrays, exactly those of `expected_tensors(graph)`. -0.0 becomes 0.0;
            so do subnormal numbers in a process that flushes them (torch.set_flush_denormal).
        coder: the entropy coder, `huffman`, `rans` or `arithmetic`.
        metadata: short notes for people; not read by any engine.
        threads: how many layers, and parts of layers, of a file of version 2 are coded at once;
            None: as many as there are processors.

    Raises:
        CoderError: there is no such coder.
        TensorError: a tensor is missing, left over, of another shape or not float32.
        ValueRangeError: a weight is NaN or infinite.
        FormatError: another of `sigdca.codec.errors`: the graph is not sound, the metadata no
            text, or the whole too large.
    """
    if coder not in CODERS:
        raise CoderError(f"coder '{coder}' is unknown, must be one of {', '.join(CODERS)}")
    expected = expected_tensors(graph)
    own = {Kind.GRAPH: put_graph(graph)}
    if metadata:
        own[Kind.METADATA] = put_metadata(metadata)
    _check_tensors(expected, tensors)
    if coder != "huffman":
        coded_as = Coder.RANS if coder == "rans" else Coder.ARITHMETIC
        return _encode_v2(graph, tensors, own, coded_as, num_threads(threads))
    parts = [Part(kind, None, data) for kind, data in own.items()]
    for number, name in enumerate(expected):
        flat = np.ascontiguousarray(tensors[name]).reshape(-1)
        sections = put_tensor(flat, number, describe(name))
        parts += [Part(kind, number, sections[kind]) for kind in sorted(sections)]
    return put_file(parts)


def _encode_v2(
    graph: Graph,
    tensors: Mapping[str, NDArray[np.float32]],
    own: Mapping[Kind, bytes],
    coder: Coder,
    threads: int,
) -> bytes:
    size = len(own[Kind.GRAPH])
    if size > MAX_GRAPH_BYTES:
        raise LimitError(
            f"graph: has {size} bytes, limit {MAX_GRAPH_BYTES}; coder huffman has none"
        )
    parts = [
        Part(kind, None, put_varint(len(data)) + put_bytes(data), Coder.ARITHMETIC)
        for kind, data in own.items()
    ]

    def put(layer: tuple[int, list[Member]]) -> Part:
        number, members = layer
        flat = [_clean(tensors[member.name], describe(member.name)) for member in members]
        coded_as, payload = put_layer(members, flat, coder=coder, threads=threads)
        return Part(Kind.LAYER, number, payload, coded_as)

    parts += in_order(put, enumerate(members_of(graph).values()), threads)
    return layout_v2.put_file(parts)


def _clean(tensor: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    """Flat and finite. A -0.0 is not told from 0.0 where values are found."""
    flat = np.ascontiguousarray(tensor).reshape(-1)
    # A sum is not finite if one of its terms is not; the other way round is looked at closely.
    with np.errstate(over="ignore", invalid="ignore"):
        sound = bool(np.isfinite(flat.sum()))
    if not sound:
        finite = np.isfinite(flat)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise ValueRangeError(f"{where}: weight {bad} is {flat[bad]}, must be finite")
    return flat


def decode_container(
    data: bytes | memoryview, *, max_weights: int = MAX_WEIGHTS, threads: int | None = None
) -> Container:
    """Reads a container whole. `ContainerReader` reads it tensor by tensor.

    Args:
        data: the whole file.
        max_weights: the most weights that its graph may declare; no more than these are ever
            allocated, whatever the file says.
        threads: how many parts of a large layer are read at once; None: as many as there are
            processors.

    Returns:
        The graph, and the float32 bits that were encoded.

    Raises:
        FormatError: one of `sigdca.codec.errors`, with one line that says where.
    """
    reader = ContainerReader(data, max_weights, threads)
    tensors = {name: reader.tensor(name) for name in reader.shapes}
    return Container(reader.graph, tensors, reader.metadata)


def read_container(path: str | Path) -> Container:
    """Reads and decodes a file.

    Raises:
        StorageError: it cannot be read.
        FormatError: as `decode_container`, the path in front.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return decode_container(data)
    except FormatError as error:
        raise type(error)(f"{path}: {error}") from error


def _check_tensors(
    expected: Mapping[str, Shape], tensors: Mapping[str, NDArray[np.float32]]
) -> None:
    for name, shape in expected.items():
        if name not in tensors:
            raise TensorError(f"{describe(name)}: tensor '{name}' is missing")
        got = tensors[name]
        if not isinstance(got, np.ndarray) or got.dtype != np.float32 or got.shape != shape:
            form = f"{getattr(got, 'dtype', type(got))} {list(np.shape(got))}"
            raise TensorError(f"{describe(name)}: must be float32 {list(shape)}, got {form}")
    extra = sorted(set(tensors) - set(expected))
    if extra:
        raise TensorError(f"tensor '{extra[0]}' belongs to no layer of the graph")
