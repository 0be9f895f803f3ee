"""What a leg may take of a board: time and memory, looked at as it goes on.

Memory is the process's peak of resident pages (`VmHWM`), not an `RLIMIT_AS`: importing torch maps
gigabytes of addresses that it never touches, so a limit on these says nothing about the board's
memory; and what hits it dies in the middle of a step, where a leg should end with the best it has.
"""

from __future__ import annotations

import contextlib
import time

MEGABYTE = 10**6


class Limits:
    """A clock that runs from now on, and this process's memory."""

    def __init__(self, time_limit_s: float | None, memory_limit_bytes: int | None) -> None:
        """Starts the clock, and forgets the peak of memory so far where the kernel lets it."""
        self._start = time.monotonic()
        self._time_limit_s, self._memory_limit_bytes = time_limit_s, memory_limit_bytes
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def why_stop(self, reserve_s: float = 0.0) -> str | None:
        """Which limit is reached, if one is.

        Args:
            reserve_s: seconds that are still needed afterwards.
        """
        if self._time_limit_s is not None and self.elapsed_s + reserve_s > self._time_limit_s:
            return f"time limit of {self._time_limit_s:g} s"
        if self._memory_limit_bytes is not None and peak_bytes() > self._memory_limit_bytes:
            return f"memory limit of {self._memory_limit_bytes / MEGABYTE:g} MB"
        return None


def peak_bytes() -> int:
    """The peak of this process's resident memory; 0 where the kernel does not say."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0
