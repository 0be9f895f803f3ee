"""Ends a process at each system call of an update in turn, and looks at what it leaves behind.

    python crash_points.py FOLDER MODE

FOLDER holds `device.json`, `1.dcu` and `2.dcu`. MODE `kill`: the process is gone, as by kill -9;
`full`: from that call on the disk is full. Prints a JSON object for each point.
"""

import builtins
import errno
import json
import os
import shutil
import sys
from pathlib import Path

from sigdca.edge.self_test import self_test
from sigdca.edge.update import Device, Health, set_up
from sigdca.errors import StorageError, TargetError

WELL = Health(uptime_s=1e6, met=10**6, late=0, dropped=0)
WATCHED = ("fsync", "replace", "pwrite", "unlink")


class Disk:
    """Counts what goes to the disk; from call number `last` on it kills, or is full."""

    def __init__(self, last: int, mode: str) -> None:
        self.left, self.mode = last, mode

    def watch(self) -> None:
        for name in WATCHED:
            setattr(os, name, self._watched(getattr(os, name), name == "unlink"))
        real = builtins.open

        def opened(path, mode="r", *args, **kwargs):
            if "w" in mode and not isinstance(path, int):
                self._count()
            file = real(path, mode, *args, **kwargs)
            if mode == "wb" and self.mode == "kill":
                file.write = self._half(file)  # cut off in the middle
            return file

        builtins.open = opened

    def _half(self, file):
        def write(content):
            type(file).write(file, content[: len(content) // 2])
            file.flush()
            self._count()
            return type(file).write(file, content[len(content) // 2 :])

        return write

    def _watched(self, real, harmless):
        def call(*args, **kwargs):
            if not (harmless and self.mode == "full"):
                self._count()
            return real(*args, **kwargs)

        return call

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            if self.mode == "kill":
                os._exit(9)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def update(root: Path) -> None:
    """Everything that writes: an update, its start, its confirmation."""
    device = Device(root, prove=self_test)
    device.install((root.parent / "2.dcu").read_bytes())
    device.start()
    device.report(2, WELL)


def ends(root: Path, last: int, mode: str) -> bool:
    """Updates in a process of its own up to the point; True if it came to its end."""
    child = os.fork()
    if child == 0:
        Disk(last, mode).watch()
        try:
            update(root)
        except StorageError:
            os._exit(8)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path, mode: str) -> None:
    settings = Device(folder).settings
    fresh = folder / "fresh"
    set_up(fresh, settings)
    Device(fresh, prove=self_test).install((folder / "1.dcu").read_bytes())
    ended, last = False, 0
    while not ended:
        root = folder / "device"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(fresh, root)
        ended = ends(root, last, mode)
        try:
            live = Device(root, prove=self_test).start()
            found = live.manifest.version
        except (StorageError, TargetError) as error:
            found = str(error)
        again = True
        if found == 1:  # whatever was left behind is in nobody's way
            try:
                Device(root, prove=self_test).install((folder / "2.dcu").read_bytes())
            except Exception as error:
                again = str(error)
        print(json.dumps({"point": last, "ended": ended, "live": found, "again": again}))
        last += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
