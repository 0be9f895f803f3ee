"""Control groups of Linux, version 2 and 1: one of its own for a leg's processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PERIOD_US = 100_000
_LIMITS = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),
}
_GONE_AFTER_S = 2.0  # killed processes need a moment to leave


@dataclass(frozen=True)
class Group:
    """A control group that can be written to, of one controller; of version 2 perhaps of more.

    Attributes:
        folder: where it lies.
        version: 1 or 2.
    """

    folder: Path
    version: int

    def has(self, controller: str) -> bool:
        """Whether it can limit what a controller, `memory` or `cpu`, does."""
        return any((self.folder / name).exists() for name in _LIMITS[controller])

    def limit_memory(self, in_bytes: int) -> None:
        """Raises OSError if the kernel refuses."""
        if self.version == 2:
            (self.folder / "memory.max").write_text(str(in_bytes))
            others = ("memory.swap.max", "0")
        else:
            (self.folder / "memory.limit_in_bytes").write_text(str(in_bytes))
            others = ("memory.memsw.limit_in_bytes", str(in_bytes))
        with contextlib.suppress(OSError):  # a kernel without swap accounting
            if (self.folder / others[0]).exists():
                (self.folder / others[0]).write_text(others[1])

    def limit_cpu(self, share: float, cores: int) -> None:
        """Raises OSError if the kernel refuses."""
        quota = max(1000, round(PERIOD_US * share * cores))
        if self.version == 2:
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            return
        (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self.folder / "cpu.cfs_quota_us").write_text(str(quota))

    @property
    def procs(self) -> Path:
        """Where a process writes its number to join."""
        return self.folder / "cgroup.procs"

    def num_killed(self) -> int:
        """Processes that were ended because the memory was used up."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        try:
            lines = (self.folder / name).read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Waits until it is empty; one that does not become so is left."""
        end = time.monotonic() + _GONE_AFTER_S
        while True:
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() >= end:
                    return
                time.sleep(0.01)


def make_group(controller: str, name: str, also: str | None = None) -> Group:
    """Makes a group below this process's own, or where else one may be made.

    Args:
        controller: `memory` or `cpu`.
        name: what it is called.
        also: the other one, if it is wanted too. In version 2 a process is in one group alone:
            one that has both goes before one that is nearer.

    Raises:
        OSError: none can be made; its text says why.
    """
    why = OSError(f"no cgroup with the controller {controller} under {ROOT}")
    lesser: Group | None = None
    for parent, version in _parents(controller):
        folder = parent / name
        try:
            folder.mkdir()
        except OSError as error:
            why = error
            continue
        group = Group(folder, version)
        if not group.has(controller):
            group.remove()
            why = OSError(f"{parent}: its children are not given the controller {controller}")
        elif version == 1 or also is None or group.has(also):
            if lesser is not None:
                lesser.remove()
            return group
        elif lesser is None:
            lesser = group
        else:
            group.remove()
    if lesser is None:
        raise why
    return lesser


def _parents(controller: str) -> Iterator[tuple[Path, int]]:
    """Where a group may be made: in our own, in those above it."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" and (ROOT / "cgroup.controllers").exists():
            mount, version = ROOT, 2
        elif controller in controllers.split(","):
            mount, version = ROOT / controllers, 1
            if not mount.is_dir():
                mount = ROOT / controller
        else:
            continue
        own = Path(os.path.normpath(f"{mount}/{path}"))
        for parent in (own, *own.parents):
            if parent.is_relative_to(mount) and parent.is_dir():
                yield parent, version
