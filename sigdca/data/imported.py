"""Imported data sets: a folder or address with `dataset.json` and Parquet shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sigdca.data.dataset import Dataset, Source, Split
from sigdca.data.manifest import Manifest, read_manifest
from sigdca.data.shards import PART_BYTES, read_range, read_whole, rows_of
from sigdca.errors import JobError
from sigdca.storage import Store, open_store

# Above this many bytes of pixels, training reads a split as a stream.
MAX_IN_MEMORY_BYTES = 2 << 30


def is_address(source: str) -> bool:
    """Whether it names a place (`./flowers`, `/nfs/flowers`, `s3://...`), not a known source."""
    return "/" in source


def absolute(source: str) -> str:
    """The same place for a process with another working directory."""
    if is_address(source) and "://" not in source:
        return str(Path(source).absolute())
    return source


@dataclass(frozen=True)
class Imported:
    """A data set that lies somewhere.

    Attributes:
        store: its folder.
        manifest: what it says of itself.
    """

    store: Store
    manifest: Manifest

    @property
    def source(self) -> Source:
        """The same as what is known of a built-in source."""
        channels, height, width = self.manifest.input_shape
        return Source(
            name=self.manifest.name,
            input_shape=(channels, height, width),
            num_classes=len(self.manifest.classes),
            input_scale=self.manifest.input_scale,
            splits={
                name: Split(split.num_images, split.sha256())
                for name, split in self.manifest.splits.items()
            },
            obtain=None,
        )

    def head(self, split: str, at_most: int | None = None) -> Dataset:
        """The first images of a split; all, each shard verified, if there is no limit."""
        whole = self.manifest.split(split)
        if at_most is None or at_most >= whole.num_images:
            return read_whole(self.store, self.manifest, whole.shards)
        return read_range(self.store, self.manifest, split, 0, at_most)

    def parts(self, split: str, start: int, end: int, unit: int) -> Iterator[Dataset]:
        """Images [start, end) of a split, a few at a time: multiples of `unit`, but the last."""
        step = rows_of(PART_BYTES, self.manifest.image_bytes, unit)
        for first in range(start, end, step):
            yield read_range(self.store, self.manifest, split, first, min(end, first + step))


def open_imported(address: str) -> Imported:
    """Opens the data set at an address.

    Raises:
        JobError: there is none.
        FormatError: its manifest is not one.
        StorageError: the place cannot be read.
    """
    store = open_store(address)
    return Imported(store, read_manifest(store, address.rstrip("/")))


def check_split(source: Source, split: str) -> None:
    """Makes sure that a source has a split.

    Raises:
        JobError: it has not.
    """
    if split not in source.splits:
        known = " and ".join(source.splits)
        raise JobError(f"data: {source.name} has no split '{split}'; it has {known}")
