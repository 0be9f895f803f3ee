"""A layer's tensors as one section, and back (SPEC.md, "Layer section").

The values of a tensor lie on a grid, or in a codebook, or are written out; which of them a weight
takes is coded as a level (`levels.py`). All of a layer's tensors share one stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.coders import StreamCoder, open_coder
from sigdca.codec.errors import CodebookError, SectionLengthError, ValueRangeError
from sigdca.codec.graph import Graph, Op, Shape, expected_tensors, infer_shapes
from sigdca.codec.layout import Coder as CodedAs
from sigdca.codec.levels import Limits
from sigdca.codec.op_kinds import OP_KINDS

MAX_CENTROIDS = 65535  # besides 0: an index has 16 bits
_GRID_BITS = 16  # of a grid's step: the upper half of its float32
_MAX_FIRST = 64  # the largest level that a grid's smallest value is tried as

Floats = NDArray[np.float32]
Levels = NDArray[np.int32]


class Form(IntEnum):
    """How a tensor gives its values; the numbers are the stream's."""

    ZEROS = 0
    RAW = 1
    GRID = 2
    CODEBOOK = 3


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
    members: Sequence[Member], tensors: Sequence[Floats], *, fast: bool = True
) -> tuple[CodedAs, bytes]:
    """A layer's section.

    Args:
        members: the layer's tensors, its weight last.
        tensors: their values, finite, without -0.0, flat.
        fast: see `open_coder`.

    Returns:
        How it is coded: raw, where the weight takes too many values to be shared.
    """
    shared = [_Shared.of(values) for values in tensors]
    if shared[-1].form is Form.RAW:
        return CodedAs.RAW, b"".join(values.astype("<f4").tobytes() for values in tensors)
    coder = open_coder(None, "", fast=fast)
    for member, values, found in zip(members, tensors, shared, strict=True):
        _put_tensor(coder, member, values, found)
    return CodedAs.ARITHMETIC, coder.finish()


def get_layer(
    members: Sequence[Member],
    coded_as: CodedAs,
    payload: memoryview,
    where: str,
    *,
    fast: bool = True,
) -> list[Decoded]:
    """Reads a layer's section.

    Args:
        members: the layer's tensors, its weight last.
        coded_as: how it is coded.
        payload: the section.
        where: the layer, the opening of messages that speak of no tensor.
        fast: see `open_coder`.

    Raises:
        SectionLengthError, ValueRangeError, CodebookError, LevelError, TrailingBitsError: as they
            say.
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
    coder = open_coder(payload, f"{where}: stream", fast=fast)
    found = [_get_tensor(coder, member) for member in members]
    coder.finish()
    return found


def check_values(values: Floats, where: str) -> None:
    """Makes sure that values are finite and not -0.0.

    Raises:
        ValueRangeError: one is not; `where` opens the message.
    """
    wrong = ~np.isfinite(values) | ((values == 0) & np.signbit(values))
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise ValueRangeError(f"{where}: value {bad} is {values[bad]}, must be finite and not -0")


class _Shared(NamedTuple):
    """The values of a tensor.

    Attributes:
        form: the one that takes least, by an estimate.
        values: float32 ascending, distinct, not 0.
        levels: of each of them.
        step: of the grid; 0: none.
    """

    form: Form
    values: Floats
    levels: Levels
    step: float

    @classmethod
    def of(cls, weights: Floats) -> _Shared:
        values = np.unique(weights)
        values = values[values != 0]
        num_negative = int(np.count_nonzero(values < 0))
        ranks = np.arange(len(values), dtype=np.int32) - num_negative
        levels = np.where(ranks < 0, ranks, ranks + 1).astype(np.int32)
        if not len(values):
            return cls(Form.ZEROS, values, levels, 0.0)
        step, on_grid = _find_grid(values)
        if step:
            return cls(Form.GRID, values, on_grid, step)
        bits = 32 * len(values) + math.log2(len(values) + 1) * len(weights)
        shares = len(values) <= MAX_CENTROIDS and bits < 32 * len(weights)
        return cls(Form.CODEBOOK if shares else Form.RAW, values, levels, 0.0)


def _find_grid(values: Floats) -> tuple[float, Levels]:
    """The largest step of 8 significant bits that divides all values; 0: there is none."""
    smallest = float(np.abs(values).min())
    for first in range(1, _MAX_FIRST + 1):
        step = smallest / first
        if not _is_step(step):
            continue
        levels = np.rint(values.astype(np.float64) / step)
        if np.abs(levels).max() > MAX_CENTROIDS // 2:
            break
        if np.array_equal(levels * step, values.astype(np.float64)):
            return step, levels.astype(np.int32)
    return 0.0, np.zeros(0, np.int32)


def _is_step(step: float) -> bool:
    narrow = np.float32(step)
    return bool(float(narrow) == step and narrow.view(np.uint32) & 0xFFFF == 0 and step > 0)


def _put_tensor(coder: StreamCoder, member: Member, weights: Floats, shared: _Shared) -> None:
    coder.plain(shared.form, 2)
    if shared.form is Form.RAW:
        for bits in weights.view(np.uint32).tolist():
            coder.plain(bits, 32)
    if shared.form in (Form.ZEROS, Form.RAW):
        return
    limits = Limits(max(0, -int(shared.levels[0])), max(0, int(shared.levels[-1])))
    if shared.form is Form.GRID:
        coder.plain(int(np.float32(shared.step).view(np.uint32)) >> 16, _GRID_BITS)
    _code_limits(coder, limits)
    if shared.form is Form.CODEBOOK:
        for bits in shared.values.view(np.uint32).tolist():
            coder.plain(bits, 32)
    levels = np.zeros(len(weights), np.int32)
    used = weights != 0
    levels[used] = shared.levels[np.searchsorted(shared.values, weights[used])]
    rows = levels.reshape(member.rows, -1)
    coder.levels(rows, member.stride, limits, member.name)


def _get_tensor(coder: StreamCoder, member: Member) -> Decoded:
    form = Form(coder.plain(0, 2))
    if form is Form.ZEROS:
        return Decoded(np.zeros(member.size, np.float32), np.zeros(0, np.float32))
    if form is Form.RAW:
        bits = [coder.plain(0, 32) for _ in range(member.size)]
        weights = np.array(bits, np.uint32).view(np.float32)
        check_values(weights, member.name)
        return Decoded(weights, None)
    step = 0.0
    if form is Form.GRID:
        step = float(np.uint32(coder.plain(0, _GRID_BITS) << 16).view(np.float32))
    limits = _code_limits(coder, Limits(0, 0))
    if not 1 <= sum(limits) <= MAX_CENTROIDS:
        raise CodebookError(
            f"{member.name}: codebook of {sum(limits)} values, must be 1..{MAX_CENTROIDS}"
        )
    if form is Form.GRID:
        values = _grid_values(step, limits, member.name)
    else:
        values = _codebook_values(coder, limits, member.name)
    levels = np.zeros((member.rows, member.size // member.rows), np.int32)
    coder.levels(levels, member.stride, limits, member.name)
    flat = levels.reshape(-1)
    with_zero = np.insert(values, limits.negative, np.float32(0))
    weights = with_zero[flat + limits.negative]
    return Decoded(weights, values[np.isin(values, np.unique(weights))])


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
