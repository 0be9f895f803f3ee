"""One way to files, whatever holds them: pyarrow.fs. Writes are atomic, artifacts have hashes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.fs as pafs

from sigdca.errors import StorageError


@dataclass(frozen=True)
class Store:
    """A folder on any file system that pyarrow knows.

    Attributes:
        filesystem: the pyarrow file system.
        root: the folder's path on it.
    """

    filesystem: pafs.FileSystem
    root: str

    def child(self, name: str) -> Store:
        """The folder `name` inside this one."""
        return Store(self.filesystem, self.path(name))

    def path(self, name: str) -> str:
        """The path of `name` on the file system."""
        return f"{self.root}/{name}"

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine's own file system."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    @property
    def is_folder(self) -> bool:
        """Whether the folder is there."""
        with _explained("look up", self.root):
            info = self.filesystem.get_file_info(self.root)
        return bool(info.type == pafs.FileType.Directory)

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder `name`."""
        with _explained("look up", self.path(name)):
            info = self.filesystem.get_file_info(self.path(name))
        return bool(info.type != pafs.FileType.NotFound)

    def names(self) -> list[str]:
        """The names in this folder, sorted; none if the folder is not there."""
        selector = pafs.FileSelector(self.root, allow_not_found=True)
        with _explained("list", self.root):
            return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def read(self, name: str, at_most: int | None = None) -> bytes:
        """The bytes of file `name`.

        Args:
            name: the file.
            at_most: bytes that it may have; None: any number.

        Raises:
            StorageError: it is not there, cannot be read, or is larger.
        """
        path = self.path(name)
        with self.open(name) as file, _explained("read", path):
            size = file.size()
            if at_most is not None and size > at_most:
                raise StorageError(f"{path}: cannot read: {size} bytes, at most {at_most}")
            content: bytes = file.read()
        return content

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[pa.NativeFile]:
        """File `name`, to read parts of.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        path = self.path(name)
        with contextlib.ExitStack() as stack:
            with _explained("read", path):
                file = stack.enter_context(self.filesystem.open_input_file(path))
            yield file

    def files(self) -> list[tuple[str, int]]:
        """All files in this folder, at any depth: name inside it and bytes, sorted by name.

        Raises:
            StorageError: there is no such folder, or it cannot be listed.
        """
        with _explained("list", self.root):
            found = self.filesystem.get_file_info(pafs.FileSelector(self.root, recursive=True))
            start = len(self.root.rstrip("/")) + 1
            return sorted((info.path[start:], info.size) for info in found if info.is_file)

    def broken_links(self) -> list[str]:
        """The symbolic links at any depth that lead nowhere, sorted: `files` does not see them."""
        if not self.is_local:
            return []
        paths = (
            Path(folder, name)
            for folder, _, names in os.walk(self.root, followlinks=True)
            for name in names
        )
        broken = (path for path in paths if path.is_symlink() and not path.exists())
        return sorted(str(path.relative_to(self.root)) for path in broken)

    def modified_s(self, name: str) -> float | None:
        """When file `name` was written, seconds since 1970 on the place's own clock, if known."""
        with _explained("look up", self.path(name)):
            info = self.filesystem.get_file_info(self.path(name))
        return None if info.mtime_ns is None else float(info.mtime_ns) / 1e9

    def folders(self) -> list[str]:
        """The names of the folders in this folder, sorted; none if it is not there."""
        selector = pafs.FileSelector(self.root, allow_not_found=True)
        with _explained("list", self.root):
            found = self.filesystem.get_file_info(selector)
            return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)

    def write(self, name: str, content: bytes) -> None:
        """Writes file `name` whole or not at all.

        On a local disk the bytes go to a temporary name, to the disk, and are renamed; object
        stores make an object visible only once it is complete.

        Raises:
            StorageError: the disk is full, or the place cannot be written.
        """
        if self.is_local:
            write_file(self.path(name), content)
            return
        path = self.path(name)
        with _explained("write", path):
            self.filesystem.create_dir(os.path.dirname(path), recursive=True)
            with self.filesystem.open_output_stream(path) as file:
                file.write(content)

    def check_room(self, num_bytes: int) -> None:
        """Looks whether the disk below this folder has so many bytes left; object stores have.

        Raises:
            StorageError: it has not.
        """
        if not self.is_local:
            return
        place = next(path for path in (Path(self.root), *Path(self.root).parents) if path.is_dir())
        with _explained("look up", self.root):
            free = shutil.disk_usage(place).free
        if free < num_bytes:
            raise StorageError(
                f"{self.root}: {free / 2**20:.0f} MiB are free on its disk, at least "
                f"{num_bytes / 2**20:.0f} are needed"
            )

    def remove(self, name: str) -> None:
        """Removes the folder `name` and all in it, if it is there."""
        with _explained("remove", self.path(name)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path(name))

    def remove_file(self, name: str) -> None:
        """Removes the file `name`, if it is there."""
        with _explained("remove", self.path(name)), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def set_aside(self, name: str) -> str | None:
        """Renames the folder `name` to `name.1` (or .2, ...), so that nothing is overwritten.

        Returns:
            The name it has now; None if there was no such folder.
        """
        if not self.exists(name):
            return None
        number = 1
        while self.exists(f"{name}.{number}"):
            number += 1
        old, new = self.path(name), self.path(f"{name}.{number}")
        with _explained("rename", old):
            if self.is_local:
                self.filesystem.move(old, new)
            else:  # object stores have no folders to rename
                self._copy_folder(old, new)
                self.filesystem.delete_dir(old)
        return f"{name}.{number}"

    def _copy_folder(self, old: str, new: str) -> None:
        for info in self.filesystem.get_file_info(pafs.FileSelector(old, recursive=True)):
            if info.is_file:
                copy = new + info.path.removeprefix(old)
                self.filesystem.create_dir(os.path.dirname(copy), recursive=True)
                self.filesystem.copy_file(info.path, copy)

    @contextlib.contextmanager
    def lock(self, name: str, wait: bool = False) -> Iterator[None]:
        """Keeps `name` to this process; the lock ends with the process, however that ends.

        Object stores have no locks: there it is up to the user not to run a job twice at once.

        Args:
            name: what is locked.
            wait: until another process that holds it lets go, or ends.

        Raises:
            StorageError: another process holds it, and `wait` is False.
        """
        if not self.is_local:
            yield
            return
        path = Path(self.path(f".{name}.lock"))
        with contextlib.ExitStack() as stack:
            with _explained("lock", str(path)):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(path, "a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise StorageError(
                    f"{self.path(name)}: another process is at work there"
                ) from error
            yield

    def put(self, content: bytes) -> str:
        """Keeps an artifact under the name of its own sha256.

        Returns:
            The hex digest, which `get` takes.
        """
        digest = hashlib.sha256(content).hexdigest()
        if not self.has(digest):
            self.write(f"artifacts/{digest}", content)
        return digest

    def has(self, digest: str) -> bool:
        """Whether the artifact is there, whole and undamaged."""
        if not self.exists(f"artifacts/{digest}"):
            return False
        return hashlib.sha256(self.read(f"artifacts/{digest}")).hexdigest() == digest

    def get(self, digest: str) -> bytes:
        """An artifact, verified.

        Raises:
            StorageError: it is missing, or its bytes no longer have that sha256.
        """
        content = self.read(f"artifacts/{digest}")
        got = hashlib.sha256(content).hexdigest()
        if got != digest:
            path = self.path(f"artifacts/{digest}")
            raise StorageError(f"{path}: damaged: its sha256 is {got}")
        return content


def open_store(address: str) -> Store:
    """Opens a folder by path (`runs`) or by pyarrow address (`s3://bucket/runs`).

    Raises:
        StorageError: no file system answers to that address.
    """
    if "://" not in address:
        return Store(pafs.LocalFileSystem(), str(Path(address).absolute()))
    with _explained("open", address):
        filesystem, root = pafs.FileSystem.from_uri(address)
    return Store(filesystem, root.rstrip("/"))


def beneath(address: str, name: str) -> str:
    """The address of `name` in the folder at an address, which may have options behind a `?`."""
    place, mark, options = address.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def write_file(path: str | Path, content: bytes) -> None:
    """Writes a local file whole or not at all; see `writing`.

    Raises:
        StorageError: one line with the path and the reason (disk full, no permission, ...).
    """
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A local file that is there whole or not at all: temporary name, to the disk, rename.

    Raises:
        StorageError: one line with the path and the reason (disk full, no permission, ...).
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with _explained("write", str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


@contextlib.contextmanager
def _explained(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StorageError(f"{path}: cannot {verb}: {reason}") from error
    except UnicodeDecodeError as error:  # pyarrow's names are text
        name = error.object.decode(errors="backslashreplace")
        raise StorageError(f"{path}: cannot {verb}: a file's name is not UTF-8: {name}") from error
