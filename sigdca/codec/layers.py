"""A layer's tensors as one section, and back (SPEC.md, "Layer section").

The values of a tensor lie on a grid, or in a codebook, or are written out; which of them a weight
takes is coded as a level. All of a layer's tensors share one stream (`levels.py`); or its weight's
levels come behind, chunk by chunk (`chunks.py`), where that is smaller or is to be fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from sigdca.codec.chunks import Target, get_rans, get_sparse, put_rans, put_sparse
from sigdca.codec.coders import StreamCoder, open_coder
from sigdca.codec.errors import CodebookError, SectionLengthError, ValueRangeError
from sigdca.codec.graph import Graph, Op, Shape, expected_tensors, infer_shapes
from sigdca.codec.layout import Coder as CodedAs
from sigdca.codec.levels import Limits
from sigdca.codec.op_kinds import OP_KINDS
from sigdca.codec.rans import MAX_ALPHABET
from sigdca.codec.values import MAX_CENTROIDS, Floats, Form, Shared, share
from sigdca.codec.varint import get_varint, put_varint

MIN_RANS_WEIGHTS = 1 << 14  # below, an arithmetic stream is smaller, and takes no time to speak of
_GRID_BITS = 16  # of a grid's step: the upper half of its float32
_LARGE = 1 << 16  # weights from which on speed may cost a little
_LITTLE = 1.004
_BLOCK = 4096  # written out values that are checked together
_BLOCK_LEVELS = 1 << 20  # levels that become weights together


class Member(NamedTuple):
    """A tensor of a layer.

    Attributes:
        name: as messages say it.
        shape: its own; rows are its first axis, a tensor of one axis is one row.
        stride: see `levels.code_levels`.
    """

    name: str
    shape: Shape
    stride: int

    @property
    def size(self) -> int:
        """Its number of weights."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """How many rows its levels have."""
        return self.shape[0] if len(self.shape) > 1 else 1


class Decoded(NamedTuple):
    """A tensor's weights, flat, and its non-zero values (None: it is written out)."""

    weights: Floats
    codebook: Floats | None


def members_of(graph: Graph) -> dict[str, list[Member]]:
    """The layers that have tensors, in the graph's order: each one's tensors, its weight last."""
    values, shapes = infer_shapes(graph), expected_tensors(graph)
    layers: dict[str, list[Member]] = {}
    for op in graph.ops:
        if op.name:
            ends = [*OP_KINDS[op.kind].tensors[1:], OP_KINDS[op.kind].tensors[0]]
            names = [f"{op.name}.{end}" for end in ends if f"{op.name}.{end}" in shapes]
            strides = [0] * (len(names) - 1) + [_stride(graph, op, values)]
            layers[op.name] = [
                Member(name, shapes[name], stride)
                for name, stride in zip(names, strides, strict=True)
            ]
    return layers


def _stride(graph: Graph, op: Op, values: Sequence[Shape]) -> int:
    """Columns from one line to the next in the image that a row looks at; 0: there is none."""
    if op.kind == "conv":
        width = cast("tuple[int, int]", op.attrs["kernel"])[1]
        return width if width > 1 else 0
    taken = op.inputs[0]
    if op.kind == "fc" and taken > 0 and graph.ops[taken - 1].kind == "flatten":
        image = values[graph.ops[taken - 1].inputs[0]]
        return image[-1] if len(image) > 1 and image[-1] > 1 else 0
    return 0


def put_layer(
    members: Sequence[Member],
    tensors: Sequence[Floats],
    *,
    coder: CodedAs = CodedAs.ARITHMETIC,
    threads: int = 1,
    fast: bool = True,
) -> tuple[CodedAs, bytes]:
    """A layer's section.

    Args:
        members: the layer's tensors, its weight last.
        tensors: their values, finite, flat; -0.0 becomes 0.0.
        coder: ARITHMETIC: whichever of that and SPARSE is smaller. RANS: that, where the weight
            has values for it, and is large enough.
        threads: chunks of a large weight that are coded at once.
        fast: see `open_coder`.

    Returns:
        How it is coded, and the section: raw, where the weight takes too many values to be shared.
    """
    shared = [
        share(values, member.rows, fast=fast)
        for member, values in zip(members, tensors, strict=True)
    ]
    weight = shared[-1]
    if weight.form is Form.RAW:
        return CodedAs.RAW, b"".join(_without_signed_zeros(values).tobytes() for values in tensors)
    if weight.form is not Form.ZEROS and coder is CodedAs.RANS:
        size = len(tensors[-1])
        if sum(_limits_of(weight)) <= MAX_ALPHABET and size >= MIN_RANS_WEIGHTS:
            return coder, _put_chunked(coder, members, tensors, shared, threads, fast)
    if len(weight.pieces) > 1 and weight.form is not Form.ZEROS:  # judged by one of many chunks
        middle = weight.pieces[len(weight.pieces) // 2]
        sample = weight._replace(pieces=(middle,))
        member = members[-1]
        columns = member.size // member.rows
        part = member._replace(shape=(middle.size // columns, columns))
        whole = _put_whole([part], [tensors[-1]], [sample], fast)
        chunked = put_sparse(sample.pieces, _limits_of(weight), threads, fast)
        if len(chunked) < len(whole) * _LITTLE:
            chunked = _put_chunked(CodedAs.SPARSE, members, tensors, shared, threads, fast)
            return CodedAs.SPARSE, chunked
        return CodedAs.ARITHMETIC, _put_whole(members, tensors, shared, fast)
    whole = _put_whole(members, tensors, shared, fast)
    if weight.form is Form.ZEROS:
        return CodedAs.ARITHMETIC, whole
    chunked = _put_chunked(CodedAs.SPARSE, members, tensors, shared, threads, fast)
    most = len(whole) * (_LITTLE if len(tensors[-1]) >= _LARGE else 1)
    if len(chunked) < most:  # they are faster to read
        return CodedAs.SPARSE, chunked
    return CodedAs.ARITHMETIC, whole


def _put_whole(
    members: Sequence[Member], tensors: Sequence[Floats], shared: Sequence[Shared], fast: bool
) -> bytes:
    """A section of one stream."""
    stream = open_coder(None, "", fast=fast)
    for member, values, found in zip(members, tensors, shared, strict=True):
        _put_values(stream, values, found)
        _put_levels(stream, member, found)
    return stream.finish()


def _put_chunked(
    coded_as: CodedAs,
    members: Sequence[Member],
    tensors: Sequence[Floats],
    shared: Sequence[Shared],
    threads: int,
    fast: bool,
) -> bytes:
    """A section that holds the weight's levels behind all else."""
    head = open_coder(None, "", fast=fast)
    for member, values, found in zip(members[:-1], tensors[:-1], shared[:-1], strict=True):
        _put_values(head, values, found)
        _put_levels(head, member, found)
    _put_values(head, tensors[-1], shared[-1])
    pieces, limits = shared[-1].pieces, _limits_of(shared[-1])
    if coded_as is CodedAs.RANS:
        chunks = put_rans(head, pieces, limits, threads, fast)
    else:
        chunks = put_sparse(pieces, limits, threads, fast)
    stream = head.finish()
    return put_varint(len(stream)) + stream + chunks


def get_layer(
    members: Sequence[Member],
    coded_as: CodedAs,
    payload: memoryview,
    where: str,
    *,
    threads: int = 1,
    fast: bool = True,
) -> list[Decoded]:
    """Reads a layer's section.

    Args:
        members: the layer's tensors, its weight last.
        coded_as: how it is coded.
        payload: the section.
        where: the layer, the opening of messages that speak of no tensor.
        threads: chunks of a large weight that are read at once.
        fast: see `open_coder`.

    Raises:
        SectionLengthError, ValueRangeError, CodebookError, LevelError, TrailingBitsError: as they
            say; and what `get_sparse` and `get_rans` raise.
    """
    if coded_as is CodedAs.RAW:
        size = 4 * sum(member.size for member in members)
        if len(payload) != size:
            raise SectionLengthError(f"{where}: raw section has {len(payload)} bytes, not {size}")
        ends = np.cumsum([member.size for member in members])[:-1]
        parts = np.split(np.frombuffer(payload, "<f4").astype(np.float32), ends)
        for member, values in zip(members, parts, strict=True):
            check_values(values, member.name)
        return [Decoded(values, None) for values in parts]
    if coded_as is CodedAs.ARITHMETIC:
        coder = open_coder(payload, f"{where}: stream", fast=fast)
        found = [_get_tensor(coder, member) for member in members]
        coder.finish()
        return found
    length, at = get_varint(payload, 0, f"{where}: head")
    if at + length > len(payload):
        raise SectionLengthError(f"{where}: head has {length} bytes, {len(payload) - at} are left")
    head = open_coder(payload[at : at + length], f"{where}: head", fast=fast)
    found = [_get_tensor(head, member) for member in members[:-1]]
    weight = members[-1]
    form, values, limits = _get_values(head, weight)
    if form in (Form.ZEROS, Form.RAW):
        raise CodebookError(f"{weight.name}: codebook of 0 values, must be 1..{MAX_CENTROIDS}")
    chunks = payload[at + length :]
    used = np.zeros(len(values), np.bool_)
    target = Target(np.zeros(weight.size, np.float32), used, values, limits)
    if coded_as is CodedAs.RANS:
        get_rans(head, chunks, weight.rows, target, weight.name, threads, fast)
    else:
        get_sparse(chunks, weight.rows, target, weight.name, threads, fast)
    head.finish()
    return [*found, Decoded(target.weights, values[used])]


def check_values(values: Floats, where: str, start: int = 0) -> None:
    """Makes sure that values are finite and not -0.0.

    Args:
        values: any.
        where: the opening of the message.
        start: the number of the first of them, for the message.

    Raises:
        ValueRangeError: one is not.
    """
    wrong = ~np.isfinite(values) | ((values == 0) & np.signbit(values))
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise ValueRangeError(
            f"{where}: value {start + bad} is {values[bad]}, must be finite and not -0"
        )


def _without_signed_zeros(values: Floats) -> Floats:
    return (values + np.float32(0)).astype("<f4")


def _limits_of(shared: Shared) -> Limits:
    return Limits(max(0, -int(shared.levels[0])), max(0, int(shared.levels[-1])))


def _put_values(coder: StreamCoder, weights: Floats, shared: Shared) -> None:
    """The form of a tensor, and its values."""
    coder.plain(shared.form, 2)
    if shared.form is Form.RAW:
        for bits in _without_signed_zeros(weights).view(np.uint32).tolist():
            coder.plain(bits, 32)
    if shared.form in (Form.ZEROS, Form.RAW):
        return
    if shared.form is Form.GRID:
        coder.plain(int(np.float32(shared.step).view(np.uint32)) >> 16, _GRID_BITS)
    _code_limits(coder, _limits_of(shared))
    if shared.form is Form.CODEBOOK:
        for bits in shared.values.view(np.uint32).tolist():
            coder.plain(bits, 32)


def _put_levels(coder: StreamCoder, member: Member, shared: Shared) -> None:
    if shared.form in (Form.GRID, Form.CODEBOOK):
        rows = shared.all_levels().reshape(member.rows, -1)
        coder.levels(rows, member.stride, _limits_of(shared), member.name)


def _get_values(coder: StreamCoder, member: Member) -> tuple[Form, Floats, Limits]:
    """A tensor's form and its values, for a raw one those of its weights."""
    form = Form(coder.plain(0, 2))
    if form is Form.ZEROS:
        return form, np.zeros(0, np.float32), Limits(0, 0)
    if form is Form.RAW:
        return form, _raw_values(coder, member), Limits(0, 0)
    step = 0.0
    if form is Form.GRID:
        step = float(np.uint32(coder.plain(0, _GRID_BITS) << 16).view(np.float32))
    limits = _code_limits(coder, Limits(0, 0))
    if not 1 <= sum(limits) <= MAX_CENTROIDS:
        raise CodebookError(
            f"{member.name}: codebook of {sum(limits)} values, must be 1..{MAX_CENTROIDS}"
        )
    if form is Form.GRID:
        return form, _grid_values(step, limits, member.name), limits
    return form, _codebook_values(coder, limits, member.name), limits


def _get_tensor(coder: StreamCoder, member: Member) -> Decoded:
    form, values, limits = _get_values(coder, member)
    if form is Form.ZEROS:
        return Decoded(np.zeros(member.size, np.float32), values)
    if form is Form.RAW:
        return Decoded(values, None)
    levels = np.zeros((member.rows, member.size // member.rows), np.int32)
    coder.levels(levels, member.stride, limits, member.name)
    flat = levels.reshape(-1)
    with_zero = np.insert(values, limits.negative, np.float32(0))
    weights = np.empty(member.size, np.float32)
    used = np.zeros(len(with_zero), np.bool_)
    for start in range(0, member.size, _BLOCK_LEVELS):  # a tensor has few copies at a time
        codes = flat[start : start + _BLOCK_LEVELS] + limits.negative
        weights[start : start + _BLOCK_LEVELS] = with_zero[codes]
        used[codes] = True
    return Decoded(weights, values[np.delete(used, limits.negative)])


def _raw_values(coder: StreamCoder, member: Member) -> Floats:
    """Weights as they are, checked as they come: what follows a stream's end is seldom finite."""
    bits = np.empty(member.size, np.uint32)
    weights = bits.view(np.float32)
    for start in range(0, member.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        bits[block] = [coder.plain(0, 32) for _ in range(start, min(start + _BLOCK, member.size))]
        check_values(weights[block], member.name, start)
    return weights


def _code_limits(coder: StreamCoder, limits: Limits) -> Limits:
    """Two numbers below 2^16: five bits say how many bits each has."""

    def number(value: int) -> int:
        size = coder.plain(value.bit_length(), 5)
        return coder.plain(value, min(size, 17))

    return Limits(number(limits.negative), number(limits.positive))


def _grid_values(step: float, limits: Limits, where: str) -> Floats:
    if not (math.isfinite(step) and step > 0):
        raise CodebookError(f"{where}: grid's step is {step}, must be above 0 and finite")
    levels = np.arange(-limits.negative, limits.positive + 1, dtype=np.float64)
    with np.errstate(over="ignore"):
        values = (levels * step).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueRangeError(f"{where}: {max(limits)} steps of {step} are not finite")
    return np.delete(values, limits.negative)


def _codebook_values(coder: StreamCoder, limits: Limits, where: str) -> Floats:
    bits = [coder.plain(0, 32) for _ in range(sum(limits))]
    values = np.array(bits, np.uint32).view(np.float32)
    check_values(values, f"{where}: codebook")
    signs = np.repeat([-1.0, 1.0], limits)
    if (values[1:] <= values[:-1]).any() or not np.array_equal(np.sign(values), signs):
        raise CodebookError(
            f"{where}: codebook must ascend, {limits.negative} values below 0 first"
        )
    return values
