"""A disk that is full at the moment that a measurement wants it to be."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A small file system of its own for root, such as of size `256k`, else a folder."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and not subprocess.run(command, check=False).returncode
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, rest: int) -> None:
    """Leaves room for so many bytes: a file, `FILLER`, takes the others."""
    free = os.statvfs(disk)
    (disk / FILLER).write_bytes(bytes(max(free.f_bavail * free.f_frsize - rest, 0)))
