"""What a train leg trains, on what, and within which limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.delta import MAX_MOVED_VALUES
from sigdca.edge.tied import Floats, Tied, is_trained
from sigdca.errors import JobError

MAX_MOVING = 1 << 13  # weights of a layer that may move: they are trained one by one
_HEAD_BYTES = 110  # of a delta, with its checksum and what zlib adds


@dataclass(frozen=True)
class TrainConfig:
    """How a train leg trains.

    Attributes:
        epochs: over the samples that are not held out.
        learning_rate: of Adam, as a share of the size of a tensor's values.
        batch_size: samples of a step.
        held_out: share of the samples that decides what is kept, in (0, 1).
        time_limit_s: the leg ends within so many seconds; None: it takes what it takes.
        memory_limit_bytes: of the process; None: what it takes.
        max_delta_bytes: what may be sent.
        seed: which samples are held out, and the order of the others.
    """

    epochs: int = 20
    learning_rate: float = 0.03
    batch_size: int = 32
    held_out: float = 0.2
    time_limit_s: float | None = None
    memory_limit_bytes: int | None = None
    max_delta_bytes: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        for name, sound, limit in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "above 0 and finite"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("held_out", 0 < self.held_out < 1, "above 0 and below 1"),
            ("time_limit_s", self.time_limit_s is None or self.time_limit_s > 0, "above 0"),
            ("memory_limit_bytes", (self.memory_limit_bytes or 1) > 0, "above 0"),
            ("max_delta_bytes", self.max_delta_bytes >= 256, "at least 256"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not sound:
                raise JobError(f"train leg: {name} must be {limit}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Labelled:
    """Labelled images: uint8 [n, C, H, W], and int64 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Plan:
    """What is trained, so that the delta stays within its bytes.

    Attributes:
        tied: tensors whose values are trained, but not who takes which.
        moving: tensors whose weights may also go over to another of the values.
    """

    tied: tuple[str, ...]
    moving: tuple[str, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Floats], max_delta_bytes: int) -> Plan:
        """Takes the cheapest tensors first: values before moves.

        A value costs two bytes; a move no more than the bits of a value's number.
        """
        left = max_delta_bytes - _HEAD_BYTES - len(tensors)
        found = {
            name: Tied.of(tensor)
            for name, tensor in tensors.items()
            if is_trained(name) and _may_share(tensor, left // 2)
        }
        tied, moving = [], []
        for name, one in sorted(found.items(), key=lambda item: len(item[1].values)):
            if len(one.values) > 0 and 2 * len(one.values) <= left:
                left -= 2 * len(one.values)
                tied.append(name)
        for name in sorted(tied, key=lambda name: len(found[name].places)):
            count, size = len(found[name].values), len(found[name].places)
            cost = math.ceil(size * math.log2(count) / 8)
            if 1 < count <= MAX_MOVED_VALUES and count < size <= MAX_MOVING and cost <= left:
                left -= cost
                moving.append(name)
        return cls(tuple(name for name in tied if name not in moving), tuple(moving))


def _may_share(tensor: Floats, most: int) -> bool:
    """Whether a tensor's beginning has no more values than may be sent.

    A large one that shares nothing would be sorted, only to be left as it is.
    """
    begin = tensor.reshape(-1)[: 4 * most]
    return len(np.unique(begin[begin != 0])) <= most
