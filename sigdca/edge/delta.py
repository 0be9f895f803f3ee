"""The delta (`.dcd`): what a train leg changed in a container, in a few kilobytes.

All numbers little-endian; nothing between or behind the parts.

| bytes | part |
| --- | --- |
| 8 | `89 44 43 44 0D 0A 1A 0A` |
| u16 | version = 1 |
| 32, 32 | sha256 of the container it starts from, and of the one it leads to |
| 4 x u32 | samples trained on; held out; of those right before, and after |
| u32 | bytes of the body when inflated, at most 4 MiB |
| | body: a zlib stream |
| u32 | CRC-32 (zlib's) of all before |

Body: for each tensor, in the container's order, a byte that says how it changed; then, tensor by
tensor, what it needs. A tensor has k distinct values that are not 0, ascending:

* 0, not at all: nothing.
* 1: k float16 differences; the new value is float32(value + difference).
* 2: k new values, float32, where such differences do not give them exactly.
* 3, 4: the same as 1 and 2 with k <= 256, then for each weight that is not 0, in the tensor's
  order, a byte below k, its *move*: it had value number i, and takes the new value number
  (i + move) mod k.

Of the k numbers come first all lowest bytes, then all second bytes, and so on: bytes that are
alike stand together. Weights that are 0 stay 0; graph, notes, version and coder are the base's.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import ContainerReader, decode_container, encode_container
from sigdca.codec.layout import Coder
from sigdca.edge.tied import Floats, Tied
from sigdca.errors import FormatError

MAGIC = b"\x89DCD\r\n\x1a\n"
VERSION = 1
MAX_BODY_BYTES = 1 << 22
MAX_MOVED_VALUES = 256

_HEAD = struct.Struct("<8sH32s32sIIIII")
_CRC = struct.Struct("<I")


class DeltaError(FormatError):
    """The file is no delta, or not a whole one; or two containers have none between them."""


class WrongBaseError(DeltaError):
    """The delta starts from another container."""


class Change(IntEnum):
    """How a tensor changed; the numbers are the file's."""

    NONE = 0
    NEAR = 1
    VALUES = 2
    MOVED_NEAR = 3
    MOVED_VALUES = 4


@dataclass(frozen=True)
class Evidence:
    """What the board saw on its own labelled samples, none of which it sends.

    Attributes:
        num_samples: those trained on.
        num_held_out: those kept aside to judge by.
        num_right_before: of those kept aside, right by the container it started from.
        num_right_after: right by the one it came to.
    """

    num_samples: int = 0
    num_held_out: int = 0
    num_right_before: int = 0
    num_right_after: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < 2**32:
                raise DeltaError(f"delta: {name} must be 0..{2**32 - 1}, got {value}")
        right = max(self.num_right_before, self.num_right_after)
        if right > self.num_held_out:
            raise DeltaError(f"delta: {right} right of {self.num_held_out} samples held out")


@dataclass(frozen=True)
class DeltaInfo:
    """What a delta says of itself.

    Attributes:
        base_sha256: of the container it starts from.
        result_sha256: of the container it leads to.
        evidence: what the board saw.
        delta_bytes: of the whole file.
    """

    base_sha256: str
    result_sha256: str
    evidence: Evidence
    delta_bytes: int

    @property
    def num_samples(self) -> int:
        """Labelled samples that the board trained on."""
        return self.evidence.num_samples

    @property
    def accuracy_before(self) -> float | None:
        """Percent right before, of the samples held out; None if there were none."""
        return _percent(self.evidence.num_right_before, self.evidence.num_held_out)

    @property
    def accuracy_after(self) -> float | None:
        """Percent right after."""
        return _percent(self.evidence.num_right_after, self.evidence.num_held_out)


def make_delta(base: bytes, tuned: bytes, evidence: Evidence | None = None) -> bytes:
    """What leads from one container to another.

    Args:
        base: a container.
        tuned: `with_tensors` of the same one.
        evidence: what was seen of the two.

    Raises:
        DeltaError: more differs than a delta can say: the graph, the notes, the coder, a weight
            that was 0, or how many values a tensor has.
        FormatError: one of them is no container.
    """
    before, after = decode_container(base), decode_container(tuned)
    if before.graph != after.graph or before.metadata != after.metadata:
        raise DeltaError("delta: the containers differ in more than weights")
    changes, planes = bytearray(), bytearray()
    for name, tensor in before.tensors.items():
        change, numbers = _difference(tensor, after.tensors[name], name)
        changes.append(change)
        planes += numbers
    body = bytes(changes + planes)
    if len(body) > MAX_BODY_BYTES:
        raise DeltaError(f"delta: has {len(body)} bytes inflated, limit {MAX_BODY_BYTES}")
    told = evidence or Evidence()
    head = _HEAD.pack(
        *(MAGIC, VERSION, hashlib.sha256(base).digest(), hashlib.sha256(tuned).digest()),
        *(told.num_samples, told.num_held_out, told.num_right_before, told.num_right_after),
        len(body),
    )
    delta = head + zlib.compress(body, 9)
    delta += _CRC.pack(zlib.crc32(delta))
    apply_delta(base, delta)  # whoever gets it can do the same
    return delta


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The container that a delta leads to.

    Args:
        base: the container that it starts from.
        delta: what `make_delta` made.

    Raises:
        WrongBaseError: it starts from another container.
        DeltaError: it is no delta, is damaged, or does not lead to what it says.
        FormatError: `base` is no container.
    """
    info, body = _open(delta)
    got = hashlib.sha256(base).hexdigest()
    if got != info.base_sha256:
        raise WrongBaseError(
            f"delta: starts from the container {info.base_sha256[:16]}..., this is {got[:16]}..."
        )
    before = decode_container(base)
    if len(body) < len(before.tensors):
        raise DeltaError(
            f"delta: body has {len(body)} bytes, the container {len(before.tensors)} tensors"
        )
    tensors, at = {}, len(before.tensors)
    for change, (name, tensor) in zip(body, before.tensors.items(), strict=False):
        if change not in list(Change):
            raise DeltaError(f"delta: '{name}': change {change}, must be 0..{max(Change)}")
        tensors[name], size = _changed(tensor, change, body[at:], name)
        at += size
    if at != len(body):
        raise DeltaError(f"delta: body has {len(body)} bytes, its numbers end at {at}")
    result = with_tensors(base, tensors)
    if hashlib.sha256(result).hexdigest() != info.result_sha256:
        raise DeltaError(
            f"delta: does not lead to {info.result_sha256[:16]}...; written by another version?"
        )
    return result


def read_delta(delta: bytes) -> DeltaInfo:
    """What a delta says of itself; its numbers are not looked at.

    Raises:
        DeltaError: it is none, or damaged.
    """
    return _open(delta)[0]


def with_tensors(base: bytes, tensors: Mapping[str, Floats]) -> bytes:
    """A container with other weights, its notes and its coder the same."""
    reader = ContainerReader(base)
    coder = "huffman"
    if reader.version > 1:
        is_rans = any(section.coder is Coder.RANS for section in reader.sections)
        coder = "rans" if is_rans else "arithmetic"
    return encode_container(reader.graph, tensors, coder=coder, metadata=reader.metadata)


def rounded(before: Floats, after: Floats) -> Floats:
    """The values nearest to `after` that float16 differences lead to."""
    difference = (after.astype(np.float64) - before).astype(np.float16)
    return before + difference.astype(np.float32)


def _difference(before: Floats, after: Floats, name: str) -> tuple[Change, bytes]:
    """How a tensor changed, and what that needs."""
    if np.array_equal(before, after):
        return Change.NONE, b""
    tied, flat = Tied.of(before), after.reshape(-1)
    new = flat[tied.places]
    if np.count_nonzero(new) != np.count_nonzero(flat):
        raise DeltaError(f"delta: '{name}': a weight that was 0 is not")
    values = np.zeros_like(tied.values)
    values[tied.groups] = new
    if np.array_equal(values[tied.groups], new):
        is_near, numbers = _numbers(tied.values, values)
        return Change.NEAR if is_near else Change.VALUES, numbers
    found, groups = np.unique(new, return_inverse=True)
    count = len(values)
    if count > MAX_MOVED_VALUES or len(found) > count:
        most = min(count, MAX_MOVED_VALUES)
        raise DeltaError(f"delta: '{name}': its weights take {len(found)} values, limit {most}")
    values = np.concatenate([found, tied.values[len(found) :]])
    is_near, numbers = _numbers(tied.values, values)
    moves = ((groups.reshape(-1) - tied.groups) % count).astype(np.uint8)
    return Change.MOVED_NEAR if is_near else Change.MOVED_VALUES, numbers + moves.tobytes()


def _numbers(old: Floats, new: Floats) -> tuple[bool, bytes]:
    """Whether float16 differences say it, and the numbers."""
    with np.errstate(over="ignore"):
        is_near = np.array_equal(rounded(old, new), new)
    if is_near:
        return True, _planes((new.astype(np.float64) - old).astype("<f2"))
    return False, _planes(new.astype("<f4"))


def _changed(tensor: Floats, change: int, data: bytes, name: str) -> tuple[Floats, int]:
    """A tensor after its change, and how many bytes that took."""
    if change == Change.NONE:
        return tensor, 0
    tied = Tied.of(tensor)
    count, is_moved = len(tied.values), change in (Change.MOVED_NEAR, Change.MOVED_VALUES)
    kind = np.dtype("<f2") if change in (Change.NEAR, Change.MOVED_NEAR) else np.dtype("<f4")
    size = count * kind.itemsize
    end = size + len(tied.places) * is_moved
    if end > len(data):
        raise DeltaError(f"delta: '{name}': needs {end} bytes, {len(data)} are left")
    new = _from_planes(data[:size], kind).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        values = tied.values + new if kind.itemsize == 2 else new
    if not np.isfinite(values).all():
        raise DeltaError(f"delta: '{name}': a new value is not finite")
    if not is_moved:
        return tied.with_values(values), end
    moves = np.frombuffer(data[size:end], np.uint8)
    if count > MAX_MOVED_VALUES or (len(moves) and moves.max() >= count):
        raise DeltaError(f"delta: '{name}': moves among {count} values, got {moves.max()}")
    return tied.moved((tied.groups + moves) % count).with_values(values), end


def _planes(numbers: NDArray[np.floating]) -> bytes:
    return numbers.view(np.uint8).reshape(len(numbers), -1).T.tobytes()


def _from_planes(data: bytes, kind: np.dtype[np.floating]) -> NDArray[np.floating]:
    planes = np.frombuffer(data, np.uint8).reshape(kind.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(kind).reshape(-1)


def _open(delta: bytes) -> tuple[DeltaInfo, bytes]:
    """The head and the inflated body."""
    if delta[: len(MAGIC)] != MAGIC:
        begin = delta[: len(MAGIC)].hex(" ") or "nothing"
        raise DeltaError(f"delta: begins with {begin}, must with {MAGIC.hex(' ')}")
    least = _HEAD.size + _CRC.size
    if len(delta) < least:
        raise DeltaError(f"delta: has {len(delta)} bytes, head and checksum alone have {least}")
    _, version, base, result, *counts, size = _HEAD.unpack_from(delta)
    if version != VERSION:
        raise DeltaError(f"delta: is of version {version}, this reader knows {VERSION}")
    (crc,) = _CRC.unpack(delta[-_CRC.size :])
    if zlib.crc32(delta[: -_CRC.size]) != crc:
        raise DeltaError("delta: damaged: its bytes do not give its checksum")
    if size > MAX_BODY_BYTES:
        raise DeltaError(f"delta: promises {size} bytes inflated, limit {MAX_BODY_BYTES}")
    body = _inflate(delta[_HEAD.size : -_CRC.size], size)
    return DeltaInfo(base.hex(), result.hex(), Evidence(*counts), len(delta)), body


def _inflate(packed: bytes, size: int) -> bytes:
    """No more is ever inflated than was promised."""
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise DeltaError(f"delta: body is no zlib stream: {error}") from error
    if len(body) != size or not stream.eof or stream.unused_data:
        raise DeltaError(f"delta: body does not inflate to the {size} bytes that are promised")
    return body


def _percent(right: int, total: int) -> float | None:
    return 100 * right / total if total else None
