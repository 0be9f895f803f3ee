"""The board's own store of samples: bounded, and whole whatever happens to the board.

    store.json              what the samples are, whether they are private, how large all may be
    parts/FIRST-LAST.parquet    the samples of windows FIRST to LAST (`sigdca.edge.samples`)
    sent-ADDRESS.bin        which of them were sent where, with which label

A part is written to a temporary name and renamed. Small parts are joined as they come: the joined
one is there before those that it is made of are removed, and counts instead of them. Old and new
lie on the disk together then: so much room as the largest part takes is left free for that.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sigdca.edge.said import say
from sigdca.edge.samples import (
    MAX_FILE_BYTES,
    Samples,
    dump_samples,
    ids_of,
    joined,
    keys_of,
    load_samples,
)
from sigdca.errors import FormatError, JobError, StorageError
from sigdca.storage import Store, open_store

ABOUT = "store.json"
PARTS = "parts"
LEAST_BYTES = 1 << 20
DEFAULT_BYTES = 10**9
PART_BYTES = 8 << 20  # of pixels: parts are joined up to this
BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_PART = re.compile(r"(\d{8})-(\d{8})\.parquet\Z")
_MAX_ABOUT_BYTES = 100_000


@dataclass(frozen=True)
class About:
    """What a store says of itself.

    Attributes:
        board: the name under which its samples are sent.
        shape: (C, H, W) of each image.
        num_classes: of the models that it was filled by.
        most_bytes: of all parts together, also while one is written anew.
        private: whether samples must stay on the board. Once they must, they always must.
    """

    board: str
    shape: tuple[int, int, int]
    num_classes: int
    most_bytes: int
    private: bool

    def __post_init__(self) -> None:
        for name, sound, limit in (
            ("board", BOARD.match(self.board), "a name of letters, digits and ._-"),
            ("shape", len(self.shape) == 3 and min(self.shape) > 0, "(C, H, W)"),
            ("num_classes", self.num_classes > 0, "at least 1"),
            ("most_bytes", self.most_bytes >= LEAST_BYTES, f"at least {LEAST_BYTES}"),
            ("private", isinstance(self.private, bool), "true or false"),
        ):
            if not sound:
                raise FormatError(f"store: {name} must be {limit}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Part:
    """One file of samples, of windows `first` to `last`."""

    name: str
    first: int
    last: int
    num_bytes: int


@dataclass(frozen=True)
class Counts:
    """How many samples there are, how many have labels, and the bytes of all parts."""

    samples: int
    labelled: int
    bytes: int


class Acquired:
    """The samples in a folder.

    Attributes:
        root: the folder.
        about: what it says of itself.
    """

    def __init__(self, root: Path) -> None:
        """Opens the store that `make_store` has made.

        Raises:
            StorageError: there is none, or it cannot be read.
            FormatError: what it says of itself is not what it must be.
        """
        self.root = root
        self.store = open_store(str(root))
        self.about = _read_about(self.store)
        self._parts = self.store.child(PARTS)
        self._known: NDArray[np.uint64] | None = None

    def append(self, samples: Samples) -> int:
        """Puts samples on the disk, but for images that are there already.

        The oldest without labels make room for them; where all have labels, the oldest parts.

        Returns:
            How many are new.

        Raises:
            StorageError: the disk is full, or refuses; what was there still is.
        """
        with self.lock():
            if self._known is None:
                self._remove_left_behind()
                self._known = self._keys()
            keys = keys_of(ids_of(samples.images))
            _, firsts = np.unique(keys, return_index=True)
            new = np.sort(firsts[~np.isin(keys[firsts], self._known)])
            if len(new):
                self._write(samples.take(new))
                self._known = np.concatenate([self._known, keys[new]])
        return len(new)

    def labelled(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All samples that have labels: images uint8 [n, C, H, W], labels int64 [n].

        Raises:
            StorageError: the store cannot be read.
        """
        found = [part.take(part.is_labelled) for _, part in self.read()]
        shape = (0, *self.about.shape)
        empty = np.empty(shape, np.uint8), np.empty(0, np.int64)
        return (
            np.concatenate([empty[0], *(part.images for part in found)]),
            np.concatenate([empty[1], *(part.labels for part in found)]),
        )

    def label(self, labels: Mapping[bytes, int]) -> int:
        """Gives samples labels, by their ids.

        Returns:
            How many of them are here; the others have left the store.

        Raises:
            FormatError: a label is no class of the model.
            StorageError: the disk is full, or refuses.
        """
        for label in labels.values():
            if not 0 <= label < self.about.num_classes:
                raise FormatError(f"label: must be 0 to {self.about.num_classes - 1}, got {label}")
        count = 0
        for part, samples in self.read():
            changed = samples.labels.copy()
            for place, one in enumerate(ids_of(samples.images)):
                if one in labels:
                    changed[place] = labels[one]
                    count += 1
            if (changed != samples.labels).any():
                self._parts.write(part.name, dump_samples(replace(samples, labels=changed)))
        return count

    def read(self) -> Iterator[tuple[Part, Samples]]:
        """All parts, oldest first; nobody else changes the store meanwhile.

        A damaged part is left out, and named.

        Raises:
            StorageError: the store cannot be read.
        """
        with self.lock():
            for part in self.parts():
                samples = self._load(part)
                if samples is not None:
                    yield part, samples

    def counts(self) -> Counts:
        """How many there are, from the parts' footers."""
        with self.lock():
            parts = self.parts()
            rows = [_rows_of(self._parts, part) for part in parts]
        return Counts(
            sum(count for count, _ in rows),
            sum(labelled for _, labelled in rows),
            sum(part.num_bytes for part in parts),
        )

    def parts(self) -> list[Part]:
        """The parts that count, oldest first. Those that were joined into another do not."""
        if not self._parts.is_folder:
            return []
        found = []
        for name, num_bytes in self._parts.files():
            if match := _PART.match(name):
                found.append(Part(name, int(match[1]), int(match[2]), num_bytes))
        found.sort(key=lambda part: (part.first, -part.last))
        counted: list[Part] = []
        for part in found:
            if not counted or part.first > counted[-1].last:
                counted.append(part)
        return counted

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Waits for whoever is changing the store, and keeps others out."""
        with self.store.lock("acquired", wait=True):
            yield

    def _write(self, samples: Samples) -> None:
        most, parts = self.about.most_bytes, self.parts()
        first = last = parts[-1].last + 1 if parts else 1
        content = dump_samples(samples)
        if 2 * len(content) > most:
            raise StorageError(
                f"{self.root}: {len(content)} bytes of samples at once, limit {most // 2}: half "
                "of what the store may have"
            )
        absorbed: list[Part] = []
        taken = 0
        # As in a binary counter: a sample is written a few times, however long the store grows.
        while parts and parts[-1].num_bytes <= 2 * len(content):
            meanwhile = taken + 2 * parts[-1].num_bytes + len(content)
            if meanwhile > most // 4:  # samples would have to leave for it
                break
            read = self._load(parts[-1])
            if read is not None:
                if read.images.nbytes + samples.images.nbytes > PART_BYTES:
                    break
                samples = joined([read, samples])
                content = dump_samples(samples)
            absorbed.append(parts.pop())
            taken += absorbed[-1].num_bytes
            first = absorbed[-1].first
        largest = max([len(content), *(part.num_bytes for part in parts)])
        self._make_room(parts, len(content) + max(taken, largest))
        self._parts.write(f"{first:08d}-{last:08d}.parquet", content)
        for part in absorbed:
            self._parts.remove_file(part.name)

    def _make_room(self, parts: list[Part], num_bytes: int) -> None:
        """Until so many bytes may come, the oldest leave: what has no labels, then all else."""
        excess = sum(part.num_bytes for part in parts) + num_bytes - self.about.most_bytes
        labelled = []
        for part in parts:
            if excess <= 0:
                return
            left = self._keep_labelled(part)
            excess -= part.num_bytes - left
            if left:
                labelled.append((part, left))
        for part, left in labelled:
            if excess <= 0:
                return
            self._parts.remove_file(part.name)
            excess -= left

    def _keep_labelled(self, part: Part) -> int:
        """Only samples with labels stay in a part; how many bytes it has then, 0 if it is gone."""
        count, with_labels = _rows_of(self._parts, part)
        if count and count == with_labels:
            return part.num_bytes
        samples = self._load(part) if with_labels else None
        if samples is None:
            self._parts.remove_file(part.name)
            return 0
        content = dump_samples(samples.take(samples.is_labelled))
        self._parts.write(part.name, content)  # in its place, whole or not at all
        return len(content)

    def _load(self, part: Part) -> Samples | None:
        where = self._parts.path(part.name)
        try:
            samples = load_samples(self._parts.read(part.name, at_most=MAX_FILE_BYTES), where)
            if samples.images.shape[1:] != self.about.shape:
                raise FormatError(f"{where}: images of another shape than the store's")
        except FormatError as error:
            say(f"{error}; left out")
            return None
        return samples

    def _keys(self) -> NDArray[np.uint64]:
        found = [np.empty(0, np.uint64)]
        for part in self.parts():
            ids = _column(self._parts, part, "id")
            if ids is not None:
                found.append(keys_of(ids.to_pylist()))
        return np.concatenate(found)

    def _remove_left_behind(self) -> None:
        """What a process that was killed left: half-written files, parts that were joined."""
        if not self._parts.is_folder:
            return
        counted = {part.name for part in self.parts()}
        for name in self._parts.names():
            if name.endswith(".tmp") or (_PART.match(name) and name not in counted):
                self._parts.remove_file(name)


def most_bytes_of(root: Path) -> int:
    """What the store in a folder may have; `DEFAULT_BYTES` of one that is to be made.

    Raises:
        FormatError: what it says of itself is not what it must be.
        StorageError: it cannot be read.
    """
    store = open_store(str(root))
    return _read_about(store).most_bytes if store.exists(ABOUT) else DEFAULT_BYTES


def make_store(root: Path, about: About) -> Acquired:
    """Opens the store in a folder, or makes one.

    Raises:
        JobError: there is one, of other images or classes.
        FormatError: something is not what it must be.
        StorageError: it cannot be read or written.
    """
    store = open_store(str(root))
    if store.exists(ABOUT):
        known = _read_about(store)
        if (known.shape, known.num_classes) != (about.shape, about.num_classes):
            raise JobError(
                f"{root}: holds images {known.shape} of {known.num_classes} classes, the model "
                f"takes {about.shape} of {about.num_classes}; name another folder"
            )
        about = replace(about, board=known.board, private=about.private or known.private)
        if about == known:
            return Acquired(root)
    store.write(ABOUT, (json.dumps(asdict(about), indent=1) + "\n").encode())
    return Acquired(root)


def _read_about(store: Store) -> About:
    where = store.path(ABOUT)
    if not store.exists(ABOUT):
        raise StorageError(f"{where}: is not there; `sigdca edge acquire` makes a store")
    try:
        found: Any = json.loads(store.read(ABOUT, at_most=_MAX_ABOUT_BYTES))
        if not isinstance(found, dict) or set(found) != {field.name for field in fields(About)}:
            raise FormatError(f"{where}: must have just {[f.name for f in fields(About)]}")
        return About(**(found | {"shape": tuple(found["shape"])}))
    except (ValueError, TypeError) as error:
        raise FormatError(f"{where}: not what a store says of itself: {error}") from error


def _rows_of(store: Store, part: Part) -> tuple[int, int]:
    """Samples of a part, and those with labels; (0, 0) of a damaged one."""
    labels = _column(store, part, "label")
    return (0, 0) if labels is None else (len(labels), len(labels) - labels.null_count)


def _column(store: Store, part: Part, name: str) -> pa.ChunkedArray | None:
    """One column of a part; None of a damaged one."""
    try:
        with store.open(part.name) as source, pq.ParquetFile(source) as file:
            return file.read(columns=[name]).column(name)
    except (pa.ArrowException, OSError, KeyError, StorageError):
        return None
