"""TRAIN's images as a stream: Parquet through Ray Data, each worker its own share.

What is guaranteed: in an epoch no image comes twice, in whichever worker; all workers take the
same number of steps, and less than one batch of images is left out. Pieces of shards come in an
order that is drawn from the seed and the epoch, and each worker draws its batches from a buffer of
`BUFFER_BYTES`. Ray Data is told to keep that order, so that the same seed and number of workers
give the same batches. Training that goes on from a checkpoint begins the series of orders anew:
images still come once an epoch, but in other batches than without the interruption. Where workers
were lost and a batch does not divide by those that are left, it has a few images fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.data
import ray.train

from sigdca.data import Imported
from sigdca.data.shards import check_footers, rows_of, to_dataset
from sigdca.distributed.cluster import SERVERS, quieten_ray_data
from sigdca.distributed.reading import Reader, pieces
from sigdca.errors import StorageError
from sigdca.training import Batch, Place

NAME = "train"  # of the split, and of what Ray Train hands to its workers
BUFFER_BYTES = 128 << 20  # of pixels in each worker, from which batches are drawn
PREFETCHED_BATCHES = 4
NUM_CHECKERS = 16  # of footers, at one time


def open_stream(
    imported: Imported, seed: int, num_readers: int, where: Mapping[str, str] | None = None
) -> ray.data.Dataset:
    """The train split as a Ray Data set, of which nothing but its footers has been read.

    Args:
        imported: the data set, at an address that every server can read.
        seed: determines the order of the pieces, with the epoch.
        num_readers: how many pieces are read at one time.
        where: labels of the nodes that may read; None: all servers.

    Raises:
        FormatError: a shard is not what the manifest says.
        StorageError: one is missing, or cannot be read.
    """
    shards = imported.manifest.split(NAME).shards
    with ThreadPoolExecutor(NUM_CHECKERS) as pool:
        list(pool.map(lambda shard: check_footers(imported.store, [shard]), shards))
    quieten_ray_data()
    found = list(pieces(imported, NAME))
    order = ray.data.RandomSeedConfig(seed % 2**32, reseed_after_execution=True)
    return (
        ray.data.from_items(found, override_num_blocks=len(found))
        .randomize_block_order(seed=order)
        .map_batches(
            Reader(imported, NAME),
            batch_size=None,
            batch_format="pyarrow",
            # Readers claim no CPU, for the workers may have them all.
            num_cpus=0,
            compute=ray.data.TaskPoolStrategy(size=num_readers),
            label_selector=dict(where or SERVERS),
        )
    )


def in_order() -> ray.train.DataConfig:
    """How Ray Train shares the stream: the same images to the same worker each time."""
    options = ray.data.ExecutionOptions(preserve_order=True)
    return ray.train.DataConfig(execution_options=options, enable_shard_locality=False)


@dataclass(frozen=True)
class Stream:
    """One worker's share of the stream; see `sigdca.training.Input`, and the top of this module.

    Attributes:
        imported: the data set.
        shard: what Ray Train gives this worker.
    """

    imported: Imported
    shard: Any

    @property
    def num_images(self) -> int:
        """See `Input`."""
        return self.imported.manifest.split(NAME).num_images

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See `Input`."""
        return tuple(self.imported.manifest.input_shape)

    def images_per_step(self, batch_size: int, world_size: int) -> int:
        """See `Input`: each worker takes as many as the others."""
        return batch_size // world_size * world_size

    def batches(self, epoch: int, batch_size: int, seed: int, place: Place) -> Iterator[Batch]:
        """See `Input`.

        Raises:
            FormatError: a shard's images or labels are not what the manifest says.
            StorageError: the stream ends early.
        """
        manifest, mine = self.imported.manifest, batch_size // place.world_size
        draw = np.random.SeedSequence((seed, epoch, place.rank)).generate_state(1)[0]
        tables = iter(
            self.shard.iter_batches(
                batch_size=mine,
                batch_format="pyarrow",
                prefetch_batches=PREFETCHED_BATCHES,
                drop_last=True,
                local_shuffle_buffer_size=rows_of(BUFFER_BYTES, manifest.image_bytes, mine),
                local_shuffle_seed=int(draw),
            )
        )
        num_steps = self.num_images // batch_size
        for step in range(num_steps):
            table = next(tables, None)
            if table is None:
                raise StorageError(f"training images: {step} batches came, {num_steps} must")
            part = to_dataset(table, manifest, self.imported.store.root)
            yield part.images, part.labels.astype(np.int64)
        for _ in tables:  # for Ray an epoch ends when all of it is read
            pass
