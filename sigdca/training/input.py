"""What TRAIN reads: the images of an epoch, batch by batch, and each process's share of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sigdca.training.parallel import Place

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class Input(Protocol):
    """The training images, wherever they lie."""

    @property
    def num_images(self) -> int:
        """All of them, whichever process reads them."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of every image."""
        ...

    def images_per_step(self, batch_size: int, world_size: int) -> int:
        """How many images of a batch come, over all processes."""
        ...

    def batches(self, epoch: int, batch_size: int, seed: int, place: Place) -> Iterator[Batch]:
        """One epoch's batches, as far as they are this process's.

        No image comes twice in an epoch, in whichever process. All processes get the same number
        of batches, `num_images // batch_size`; the images that are left over wait for another
        epoch.

        Args:
            epoch: from 0. All processes ask for the same epochs in the same order.
            batch_size: images per batch over all processes.
            seed: determines the order, together with the epoch.
            place: which process asks.

        Yields:
            uint8 [n, C, H, W] and int64 [n]: n is batch_size / world_size, rounded up or down.
        """
        ...


@dataclass(frozen=True)
class InMemory:
    """Images that every process has whole: the order is the same for any number of processes.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: whole numbers [N].
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer]

    @property
    def num_images(self) -> int:
        """See `Input`."""
        return len(self.images)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See `Input`."""
        return self.images.shape[1:]

    def images_per_step(self, batch_size: int, world_size: int) -> int:
        """See `Input`: all of them."""
        return batch_size

    def batches(self, epoch: int, batch_size: int, seed: int, place: Place) -> Iterator[Batch]:
        """See `Input`: this process's share of every global batch."""
        for mine in self.choices(epoch, batch_size, seed, place):
            yield self.images[mine], self.labels[mine].astype(np.int64)

    def choices(
        self, epoch: int, batch_size: int, seed: int, place: Place
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Where the images of each of these batches lie."""
        order = np.random.default_rng((seed, epoch)).permutation(len(self.images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield order[start + place.rank : start + batch_size : place.world_size]
