"""Whether a trial's fault is its own, or that of the machine it was on."""

from __future__ import annotations

import torch

from sigdca.data import is_address, open_imported
from sigdca.errors import SigdcaError, StorageError
from sigdca.job import DataSource

# Disks, memory, a GPU, what is installed: each may be in order elsewhere, or later.
_OF_MACHINES = (
    StorageError,
    OSError,
    MemoryError,
    ImportError,
    torch.OutOfMemoryError,
    torch.AcceleratorError,
)
_NO_MEMORY = "DefaultCPUAllocator"  # torch's plain RuntimeError, where a CPU's memory is full


class MachineError(SigdcaError):
    """Where a trial was, it could not be worked on: nothing is said of the trial itself."""

    def __init__(self, node: str, address: str, reason: str) -> None:
        """On a node, by its id and its address."""
        super().__init__(node, address, reason)  # all of them, so that it can be sent
        self.node, self.address, self.reason = node, address, reason

    def __str__(self) -> str:
        return f"{self.reason} (on node {self.address})"


def one_line(error: BaseException) -> str:
    """What an error says first, with its kind where it is not one of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = "" if isinstance(error, SigdcaError) else f"{type(error).__name__}: "
    return kind + (lines[0] if lines else "no message")


def machine_fault(error: BaseException, source: DataSource) -> str:
    """What is wrong with this machine, if that may have ended a trial; else nothing.

    Args:
        error: what ended it.
        source: the images it works on.
    """
    if isinstance(error, _OF_MACHINES) or _NO_MEMORY in str(error):
        return one_line(error)
    return why_unreadable(source)


def why_unreadable(source: DataSource) -> str:
    """Why this machine cannot read images that lie somewhere, by the first of each place."""
    for address in filter(is_address, (source.source, *source.more)):
        try:
            imported = open_imported(address)
            imported.head(next(iter(imported.manifest.splits)), 1)
        except (SigdcaError, OSError) as error:
            return one_line(error)
    return ""
