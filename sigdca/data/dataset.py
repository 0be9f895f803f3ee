"""What a data set is, and what is known of its source before a byte is fetched."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sigdca.errors import FormatError

Progress = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes so far, and all its bytes where that is known."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, in the source's order.

    Attributes:
        images: uint8 [n, C, H, W], pixels from 0 to 255.
        labels: the class of each image; uint8 [n], or int64 [n] where there are more than 256.

    Raises:
        FormatError: the arrays do not have these shapes and types.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        shapes = f"images {self.images.shape}, labels {self.labels.shape}"
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise FormatError(f"dataset: must be [n, C, H, W] images and [n] labels, got {shapes}")
        if self.images.dtype != np.uint8 or self.labels.dtype not in (np.uint8, np.int64):
            types = f"{self.images.dtype} and {self.labels.dtype}"
            raise FormatError(f"dataset: images must be uint8, labels uint8 or int64, got {types}")

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Dataset:
        """The first `count` images (all, if there are fewer)."""
        return Dataset(self.images[:count], self.labels[:count])

    def sha256(self) -> str:
        """The hex digest of all pixels followed by all labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """One part of a source.

    Attributes:
        num_images: how many images it has.
        sha256: what `Dataset.sha256` of it must be; of an imported one, a digest of its shards.
    """

    num_images: int
    sha256: str


Obtain = Callable[[Sequence[str], Progress | None], dict[str, tuple[Dataset, str]]]


@dataclass(frozen=True)
class Source:
    """A known data set.

    Attributes:
        name: its key in `SOURCES`, or what an imported data set calls itself.
        input_shape: (C, H, W) of every image.
        num_classes: labels run from 0 to this, exclusive.
        input_scale: what networks multiply a pixel by; the first step of every engine.
        splits: its parts by name.
        obtain: downloads some of the splits; gives each with the address that it came from. None
            for an imported data set, which is read where it lies.
    """

    name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    input_scale: float
    splits: Mapping[str, Split]
    obtain: Obtain | None

    @property
    def image_bytes(self) -> int:
        """Bytes of one image's pixels."""
        return math.prod(self.input_shape)
