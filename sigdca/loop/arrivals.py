"""NEW DATA as it comes from boards: which of it nobody has used yet, and a data set made of it.

What boards send (`sigdca.edge.sending`) is not trusted: a file that is not what its name and
columns promise is left out, and said.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.data import Dataset, Source
from sigdca.data.manifest import FILE_NAME, VERSION, Manifest, dump_manifest
from sigdca.data.shards import PART_BYTES, dump_shard, label_type, rows_of
from sigdca.edge.delta import DeltaInfo, read_delta
from sigdca.edge.samples import MAX_FILE_BYTES, Samples, ids_of, joined, keys_of, load_samples
from sigdca.edge.sending import MAX_DELTA_BYTES
from sigdca.errors import FormatError, StorageError
from sigdca.storage import Store

_BOARD = r"boards/([A-Za-z0-9][A-Za-z0-9._-]{0,62})"
_SAMPLES = re.compile(rf"{_BOARD}/samples/([0-9a-f]{{64}})\.parquet\Z")
_DELTA = re.compile(rf"{_BOARD}/deltas/([0-9a-f]{{64}})\.dcd\Z")


@dataclass(frozen=True)
class New:
    """What is new.

    Attributes:
        names: the files with labelled samples that nobody has used, in the order in which they
            came.
        num_images: the different images in them that nobody has used.
        arrived_s: when the last of the files came, seconds since 1970.
    """

    names: tuple[str, ...]
    num_images: int
    arrived_s: float


@dataclass(frozen=True)
class _Seen:
    keys: NDArray[np.uint64]
    arrived_s: float


class Arrivals:
    """The place that boards send to."""

    def __init__(self, store: Store, source: Source, note: Callable[[str], None]) -> None:
        """Reads nothing yet.

        Args:
            store: the place.
            source: what the images must be like.
            note: hears of what is left out.
        """
        self._store, self._source, self._note = store, source, note
        self._seen: dict[str, _Seen] = {}
        self._left_out: set[str] = set()

    def look(self, used: Collection[str], known: NDArray[np.uint64]) -> New:
        """Looks what is new.

        Args:
            used: names of files that were used.
            known: keys of images that were used.

        Raises:
            StorageError: the place cannot be read.
        """
        names = set(self._names(_SAMPLES, used))
        for name in sorted(names):
            if name not in self._seen:
                samples = self.read(name)
                if samples is not None:
                    mine = keys_of(ids_of(samples.images))
                    self._seen[name] = _Seen(mine, self.arrived_s(name))
        found = {
            name: seen
            for name, seen in sorted(
                self._seen.items(), key=lambda one: (one[1].arrived_s, one[0])
            )
            if name in names and not np.isin(seen.keys, known).all()
        }
        keys = [seen.keys for seen in found.values()]
        new = np.setdiff1d(np.concatenate(keys), known) if keys else known[:0]
        arrived_s = max((seen.arrived_s for seen in found.values()), default=0.0)
        return New(tuple(found), len(new), arrived_s)

    def deltas(self, used: Collection[str], base: str) -> dict[str, DeltaInfo]:
        """Deltas that nobody has used, of train legs that started from a container.

        Args:
            used: names of those that were used.
            base: sha256 of the container.

        Raises:
            StorageError: the place cannot be read.
        """
        found = {}
        for name in self._names(_DELTA, used):
            try:
                info = read_delta(self.content(name, MAX_DELTA_BYTES))
            except FormatError as error:
                self._leave_out(name, str(error))
                continue
            if info.base_sha256 == base:
                found[name] = info
            else:
                self._leave_out(name, f"{name}: starts from a container that is no longer live")
        return found

    def read(self, name: str) -> Samples | None:
        """The labelled samples of a file; None if it has none, or is left out.

        Raises:
            StorageError: the place cannot be read.
        """
        try:
            samples = load_samples(self.content(name, MAX_FILE_BYTES), name)
            self._check(samples, name)
        except FormatError as error:
            self._leave_out(name, str(error))
            return None
        labelled = samples.take(samples.is_labelled)
        if not len(labelled):
            self._left_out.add(name)
            return None
        return labelled

    def arrived_s(self, name: str) -> float:
        """When a file came, as far as the place knows: seconds since 1970."""
        return self._store.modified_s(name) or time.time()

    def content(self, name: str, at_most: int) -> bytes:
        """The bytes of a file, which must have the sha256 that is its name.

        Raises:
            FormatError: they have not, or are too many.
            StorageError: it cannot be read.
        """
        try:
            content = self._store.read(name, at_most)
        except StorageError as error:
            if "at most" in str(error):
                raise FormatError(str(error)) from error
            raise
        if hashlib.sha256(content).hexdigest() != name.rpartition("/")[2].partition(".")[0]:
            raise FormatError(f"{name}: damaged: its sha256 is not its name")
        return content

    def _names(self, pattern: re.Pattern[str], used: Collection[str]) -> list[str]:
        if not self._store.is_folder:
            return []
        return [
            name
            for name, _ in self._store.files()
            if pattern.match(name) and name not in used and name not in self._left_out
        ]

    def _check(self, samples: Samples, name: str) -> None:
        source = self._source
        if samples.images.shape[1:] != source.input_shape:
            shape = samples.images.shape[1:]
            raise FormatError(f"{name}: images {shape}, {source.name} has {source.input_shape}")
        if samples.labels.max() >= source.num_classes:
            raise FormatError(
                f"{name}: label {samples.labels.max()}, {source.name} has {source.num_classes} "
                "classes"
            )

    def _leave_out(self, name: str, why: str) -> None:
        self._left_out.add(name)
        self._note(f"watch: left out: {why}")


def samples_of(arrivals: Arrivals, names: Collection[str], known: NDArray[np.uint64]) -> Samples:
    """The labelled samples of some files; an image that comes twice has its first label.

    Args:
        arrivals: where they are.
        names: of the files.
        known: keys of images to leave out.

    Raises:
        FormatError: nothing is left.
        StorageError: the place cannot be read.
    """
    parts = [part for part in map(arrivals.read, names) if part is not None]
    if parts:
        samples = joined(parts)
        keys = keys_of(ids_of(samples.images))
        _, firsts = np.unique(keys, return_index=True)
        new = np.sort(firsts[~np.isin(keys[firsts], known)])
        if len(new):
            return samples.take(new)
    raise FormatError("watch: nothing new is left of what had come")


def write_data_set(
    samples: Samples, source: Source, name: str, test_share: float, to: Store
) -> None:
    """Makes a data set of new samples, of a data source's classes.

    Which images are for the test is drawn from the images themselves, once and for all.

    Args:
        samples: with labels.
        source: the data source.
        name: of the data set.
        test_share: the share of its split `test`.
        to: a folder.

    Raises:
        StorageError: it cannot be written.
    """
    drawn = (keys_of(ids_of(samples.images)) % np.uint64(1000)).astype(np.float64) / 1000
    is_test = drawn < test_share
    if is_test.all():
        is_test[:] = False
    splits = {}
    for split, chosen in (("train", ~is_test), ("test", is_test)):
        if chosen.any():
            some = samples.take(chosen)
            splits[split] = _write_split(split, some, source.num_classes, to)
    manifest = Manifest.model_validate(
        {
            "version": VERSION,
            "name": name,
            "classes": [str(number) for number in range(source.num_classes)],
            "input_shape": list(source.input_shape),
            "input_scale": source.input_scale,
            "splits": splits,
        }
    )
    to.write(FILE_NAME, dump_manifest(manifest))


def _write_split(split: str, samples: Samples, num_classes: int, to: Store) -> dict[str, object]:
    step = rows_of(PART_BYTES, samples.images[0].size)
    shards = []
    for number, start in enumerate(range(0, len(samples), step)):
        some = samples.take(slice(start, start + step))
        content = dump_shard(Dataset(some.images, some.labels.astype(label_type(num_classes))))
        name = f"{split}/part-{number:05d}.parquet"
        to.write(name, content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"name": name, "num_images": len(some), "sha256": digest})
    return {"num_images": len(samples), "shards": shards}
