"""The acquire leg: frames through the live model, the least certain of them into the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sigdca.edge.acquired import Acquired
from sigdca.edge.choice import Chooser
from sigdca.edge.frames import END, FileFrames, Frames, Shape
from sigdca.edge.labels import Labels
from sigdca.edge.ready import Ready
from sigdca.edge.said import say
from sigdca.edge.samples import NO_LABEL
from sigdca.edge.update import Device
from sigdca.errors import EngineError, JobError, SigdcaError, StorageError


class Source(Protocol):
    """What gives the model."""

    ready: Ready
    sha256: str

    def follow(self) -> None:
        """Between two windows: takes up what has become live since."""
        ...


class FileModel:
    """A `.dca` file.

    Attributes:
        ready: the model.
        sha256: of the container.
    """

    def __init__(self, path: Path, profile: str = "fast") -> None:
        """Opens it.

        Raises:
            SigdcaError: it cannot be read, or is not sound.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: cannot read: {error.strerror}") from error
        self.ready = Ready(content, profile, 1, 0, path.stem)
        self.sha256 = hashlib.sha256(content).hexdigest()

    def follow(self) -> None:
        """A file does not change."""


class LiveModel:
    """What is live on a device. It counts no start and reports nothing: `edge infer` does."""

    def __init__(self, root: Path, profile: str = "fast") -> None:
        """Opens it; see `FileModel`."""
        self._device, self._profile = Device(root), profile
        self._sequence = self._device.state().sequence
        self.ready, self.sha256 = self._open()

    def follow(self) -> None:
        """See `Source.follow`; a model that cannot be opened is left to `edge infer`."""
        sequence = self._device.state().sequence
        if sequence == self._sequence:
            return
        self._sequence = sequence
        try:
            ready, sha256 = self._open()
            if ready.shape != self.ready.shape:
                raise EngineError(f"version {ready.version} takes frames of another shape")
            self.ready, self.sha256 = ready, sha256
        except SigdcaError as error:
            say(f"acquire: {error}; the model before goes on")

    def _open(self) -> tuple[Ready, str]:
        live = self._device.live()
        manifest = live.manifest
        ready = Ready(live.container, self._profile, 1, manifest.version, manifest.model)
        return ready, manifest.container_sha256


@dataclass
class Told:
    """What became of the frames.

    Attributes:
        frames: looked at.
        stored: put on the disk.
        lost: chosen, but the disk refused them.
    """

    frames: int = 0
    stored: int = 0
    lost: int = 0


class Acquiring:
    """Looks at frames until there are no more, or it is told to stop.

    Attributes:
        told: what became of them.
    """

    def __init__(
        self, source: Source, store: Acquired, chooser: Chooser, every_s: float, limit: int | None
    ) -> None:
        """Touches nothing yet.

        Args:
            source: gives the model.
            store: where samples go.
            chooser: chooses them.
            every_s: how long they may wait in memory.
            limit: end after so many frames; None: never.
        """
        self.told = Told()
        self._source, self._store, self._chooser = source, store, chooser
        self._every_s, self._limit = every_s, limit
        self._stopped = self._complained = False

    def stop(self, *_: object) -> None:
        """Ends after the frame at hand; what is in memory is stored."""
        self._stopped = True

    def run(self, frames: Frames, label: int = NO_LABEL) -> None:
        """Looks at all frames of a source, which all have the same label, or none.

        Raises:
            SigdcaError: the source fails; what is in memory is stored.
        """
        began = time.monotonic()
        try:
            while not self._is_done:
                source = self._source
                if self._chooser.is_full or time.monotonic() - began >= self._every_s:
                    self._flush()
                    source.follow()
                    began = time.monotonic()
                ready = source.ready
                arrived = frames.take(ready.pixels[0])
                if arrived == END:
                    return
                if arrived > 0:
                    ready.call()
                    self.told.frames += 1
                    self._chooser.look(
                        ready.pixels[0], ready.logits[0], time.time(), source.sha256, label
                    )
        finally:
            self._flush()

    @property
    def _is_done(self) -> bool:
        return self._stopped or (self._limit is not None and self.told.frames >= self._limit)

    def _flush(self) -> None:
        """A disk that refuses is said once, until it takes something again."""
        chosen = self._chooser.end()
        if chosen is None:
            return
        try:
            self.told.stored += self._store.append(chosen)
            self._complained = False
        except StorageError as error:
            self.told.lost += len(chosen)
            if not self._complained:
                say(f"acquire: {error}; samples are lost until it takes them again")
            self._complained = True


def by_class(folder: Path, shape: Shape, labels: Labels) -> Iterator[tuple[Frames, int]]:
    """The frames of a folder that has a folder for each class, class by class.

    Args:
        folder: has `CLASS/FILE`.
        shape: (C, H, W).
        labels: what they are called.

    Raises:
        JobError: it is laid out otherwise.
        SigdcaError: a file is not what it must be.
    """
    try:
        names = sorted(one.name for one in folder.iterdir() if one.is_dir())
    except OSError as error:
        raise StorageError(f"{folder}: cannot read: {error.strerror}") from error
    if not names:
        raise JobError(f"{folder}: has no folders of classes")
    numbers = [labels.number(name, str(folder)) for name in names]  # all, before any is read
    for name, number in zip(names, numbers, strict=True):
        yield FileFrames(folder / name, shape, None, repeat=False), number
