"""What Ray Data's reading tasks run. They start anew every epoch: nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from sigdca.data import Imported
from sigdca.data.shards import read_table, rows_of

PIECE_BYTES = 16 << 20  # of pixels that one task reads


def pieces(imported: Imported, split: str) -> Iterator[dict[str, int]]:
    """What one task reads each: a shard, or some rows of one. Together they are the split."""
    step = rows_of(PIECE_BYTES, imported.manifest.image_bytes)
    for number, shard in enumerate(imported.manifest.split(split).shards):
        for first in range(0, shard.num_images, step):
            last = min(shard.num_images, first + step)
            yield {"shard": number, "first": first, "last": last}


@dataclass(frozen=True)
class Reader:
    """Reads pieces of a split, wherever Ray runs it.

    Attributes:
        imported: the data set.
        split: `train` or `test`.
    """

    imported: Imported
    split: str

    def __call__(self, some: pa.Table) -> pa.Table:
        """The images and labels of the pieces in a table, as `pieces` made them.

        Raises:
            FormatError: a shard is damaged, or not what the manifest says.
            StorageError: one is missing, or cannot be read.
        """
        store, manifest = self.imported.store, self.imported.manifest
        shards = manifest.split(self.split).shards
        return pa.concat_tables(
            read_table(store, manifest, shards[piece["shard"]], piece["first"], piece["last"])
            for piece in some.to_pylist()
        )
