"""What an updated device keeps on its disk: two slots, and the record of which one is live.

The record lies in two files of one block each, written in turn, in place, each with a number that
counts up and a checksum; the newest sound one counts. A write that is cut off leaves the one
before, and none needs room on a full disk. A slot is one file, which is renamed into place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sigdca.errors import FormatError, StorageError

SLOTS = ("a", "b")
RECORD_BYTES = 4096
MAX_SLOT_BYTES = 2**32 + 2**17  # the largest container, with a bundle's head
LOCK_TIMEOUT_S = 60.0
_MAX_NOTE_CHARS = 300
_INCOMING = "incoming.tmp"


@dataclass(frozen=True)
class State:
    """Which slot is live, and how it came to be.

    Attributes:
        sequence: counts the records.
        good: the slot that has proven itself; None before the first update.
        trial: the slot that is live and must still prove itself, if any.
        floor: the highest version that ever was live; nothing up to it is taken again.
        trial_version: the version on trial; 0 if there is none.
        starts: how often the one on trial was started.
        note: the last thing that happened, for people.
    """

    sequence: int = 0
    good: str | None = None
    trial: str | None = None
    floor: int = 0
    trial_version: int = 0
    starts: int = 0
    note: str = ""

    @property
    def live(self) -> str | None:
        """The slot to run."""
        return self.trial or self.good


def other(slot: str | None) -> str:
    """The slot that an update may be written to."""
    return SLOTS[1] if slot == SLOTS[0] else SLOTS[0]


@dataclass(frozen=True)
class Slots:
    """The folder."""

    root: Path

    def slot(self, name: str) -> Path:
        """The file of a slot."""
        return self.root / f"slot-{name}.dcu"

    def create(self) -> None:
        """Makes the two record files, if they are not there.

        Raises:
            StorageError: the folder cannot be written.
        """
        with explained("write", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for number in (0, 1):
                path = self._record(number)
                if not path.exists() or path.stat().st_size < RECORD_BYTES:
                    durable_write(path, bytes(RECORD_BYTES))

    def state(self) -> State:
        """The newest sound record; an empty one if there is none. Needs no lock."""
        found = [_get_record(self._record(number)) for number in (0, 1)]
        return max((one for one in found if one), key=lambda one: one.sequence, default=State())

    def save(self, **changes: Any) -> State:
        """Writes the record with some changes, over the older of the two.

        Raises:
            StorageError: the disk refuses.
        """
        before = self.state()
        after = replace(before, sequence=before.sequence + 1, **changes)
        after = replace(after, note=after.note[:_MAX_NOTE_CHARS])
        path = self._record(after.sequence % 2)
        with explained("write", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, _put_record(after), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return after

    def receive(self, content: bytes) -> Path:
        """Puts an update on the disk, where it is nothing yet.

        Raises:
            StorageError: the disk is full, or refuses; nothing is left behind.
        """
        path = self.root / _INCOMING
        with explained("write", path):
            try:
                _write(path, content)
            except BaseException:
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
        return path

    def place(self, received: Path, slot: str) -> None:
        """Makes what was received the content of a slot, whole or not at all.

        Raises:
            StorageError: the disk refuses.
        """
        with explained("write", self.slot(slot)):
            os.replace(received, self.slot(slot))
            sync_folder(self.root)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keeps others out; ends with the process, however that ends.

        Raises:
            StorageError: another holds it for a minute, or the folder cannot be written.
        """
        path = self.root / f".{name}.lock"
        with contextlib.ExitStack() as stack:
            with explained("lock", path):
                file = stack.enter_context(open(path, "ab"))
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _locked(file.fileno()):
                if time.monotonic() > deadline:
                    raise StorageError(f"{path}: another process is at work there")
                time.sleep(0.01)
            yield

    def _record(self, number: int) -> Path:
        return self.root / f"state.{number}"


def read_bundle(path: Path) -> bytes:
    """A file that should be an update, in no more memory than it is large.

    Raises:
        FormatError: it is larger than an update may be.
        StorageError: it cannot be read.
    """
    with explained("read", path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_SLOT_BYTES:
            raise FormatError(f"{path}: {size} bytes, an update has at most {MAX_SLOT_BYTES}")
        return file.read()  # given the limit, it would take that much memory first


def durable_write(path: Path, content: bytes) -> None:
    """A file whole or not at all, and on the disk when this returns."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write(temporary, content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explained(verb: str, path: Path) -> Iterator[None]:
    """One line with path and reason for what the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot {verb}: {error.strerror or error}") from error


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put_record(state: State) -> bytes:
    text = json.dumps(asdict(state), sort_keys=True).encode()
    body = text.ljust(RECORD_BYTES - 65)
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _get_record(path: Path) -> State | None:
    """None for what is damaged, missing or of another kind: the other record counts then."""
    try:
        with open(path, "rb") as file:
            content = file.read(RECORD_BYTES)
        if hashlib.sha256(content[65:]).hexdigest().encode() != content[:64]:
            return None
        found = json.loads(content[65:])
        return State(**{field.name: found[field.name] for field in fields(State)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
