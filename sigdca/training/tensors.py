"""Tensors that are handed on some megabytes at a time, for none need be whole in a process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol

import torch
from torch import Tensor

PIECE_BYTES = 2**22


@dataclass(frozen=True)
class Whole:
    """A tensor to be written.

    Attributes:
        shape: of all of it.
        dtype: of its values.
        pieces: its values in row-major order, on the CPU; each is valid until the next is taken.
            They come in the process of rank 0; the others must ask for them too, and get none.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: Iterable[Tensor]


class Rows(Protocol):
    """A tensor of which some rows are read at a time; `Tensor` is one itself."""

    @property
    def shape(self) -> Sequence[int]:
        """Of all of it."""

    def __getitem__(self, index: slice | EllipsisType, /) -> Tensor:
        """Some rows, or with `...` all of it; to be copied, for what holds them may be a file."""


def spans(tensor: Tensor) -> Iterator[slice | EllipsisType]:
    """Which rows make a piece, one piece after the other."""
    if not tensor.dim():
        yield ...
        return
    row_bytes = math.prod(tensor.shape[1:]) * tensor.itemsize
    height = max(1, PIECE_BYTES // max(1, row_bytes))
    for start in range(0, len(tensor), height):
        yield slice(start, min(start + height, len(tensor)))


def fill_(tensor: Tensor, rows: Rows) -> None:
    """Copies piece by piece, whatever the order in memory and the device."""
    for index in spans(tensor):
        tensor[index].copy_(rows[index])
