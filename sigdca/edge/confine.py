"""Keeping a leg's processes within limits, and saying which of them hold and how."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from sigdca.edge.cgroups import Group, make_group
from sigdca.job.limits import Limits


@dataclass
class Confined:
    """What holds for a leg's processes.

    Attributes:
        options: for `sigdca.edge.launch`.
        said: one line a limit: what holds and by what means, or that it does not, and why.
        clock: the group whose share of time is limited, if it is one.
        memory: the group whose memory is limited, if it is one.
    """

    options: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    clock: Group | None = None
    memory: Group | None = None

    def why_ended(self, log: str) -> str:
        """For the end of a message: the limits, and whether memory was what lacked."""
        if not self.said:
            return ""
        killed = self.memory is not None and self.memory.num_killed() > 0
        lacked = any(word in log.lower() for word in _OUT_OF_MEMORY)
        limited = any(line.startswith("memory: at most") for line in self.said)
        start = "out of memory " if limited and (killed or lacked) else ""
        return f"; {start}under the limits: {'; '.join(self.said)}"


_OUT_OF_MEMORY = ("memory", "bad_alloc", "out-of-memory", "cannot allocate", "memoryerror")


@contextmanager
def confine(limits: Limits, *, emulated: bool) -> Iterator[Confined]:
    """Prepares what the launcher of a leg's processes needs, and takes it away again.

    Args:
        limits: what they may use.
        emulated: an emulator reserves more addresses than it uses, so that a limit of addresses
            would say nothing of the program in it; a group's limit counts the emulator's memory.
    """
    confined = Confined()
    with ExitStack() as stack:
        num_cpus = _cores(limits, confined)
        if limits.clock_share is not None:
            also = None if limits.memory_bytes is None else "memory"
            _clock(limits.clock_share, num_cpus, also, confined, stack)
        if limits.memory_bytes is not None:
            _memory(limits.memory_bytes, emulated, confined, stack)
        yield confined


def _cores(limits: Limits, confined: Confined) -> int:
    allowed = sorted(os.sched_getaffinity(0))
    if limits.cores is None:
        return len(allowed)
    chosen = allowed[: limits.cores]
    cpus = ",".join(map(str, chosen))
    confined.options.append(f"--cpus={cpus}")
    if len(chosen) < limits.cores:
        confined.said.append(
            f"cores: not enforced: {limits.cores} asked for, this machine has {len(chosen)}"
        )
    else:
        confined.said.append(f"cores: {len(chosen)} (CPU {cpus}, by affinity)")
    return len(chosen)


def _clock(
    share: float, num_cpus: int, also: str | None, confined: Confined, stack: ExitStack
) -> None:
    try:
        group = make_group("cpu", _name(), also)
        stack.callback(group.remove)
        group.limit_cpu(share, num_cpus)
    except OSError as error:
        confined.said.append(f"clock share {share:g}: not enforced: {_why(error)}")
        return
    confined.clock = group
    confined.options.append(f"--join={group.procs}")
    confined.said.append(
        f"clock share: {share:g} of {num_cpus} CPUs' time (cgroup v{group.version} quota, not a "
        "lower clock)"
    )


def _memory(in_bytes: int, emulated: bool, confined: Confined, stack: ExitStack) -> None:
    try:
        group = _memory_group(confined.clock, stack)
        group.limit_memory(in_bytes)
    except OSError as error:
        if emulated:
            confined.said.append(f"memory {in_bytes} bytes: not enforced: {_why(error)}")
            return
        confined.options.append(f"--memory={in_bytes}")
        confined.said.append(f"memory: at most {in_bytes} bytes of addresses (RLIMIT_AS)")
        return
    confined.memory = group
    if group is not confined.clock:
        confined.options.append(f"--join={group.procs}")
    own = ", the emulator's own included" if emulated else ""
    confined.said.append(f"memory: at most {in_bytes} bytes (cgroup v{group.version}{own})")


def _memory_group(clock: Group | None, stack: ExitStack) -> Group:
    """In version 2 that of the clock share: to join another would be to leave that one."""
    if clock is None or clock.version == 1:
        group = make_group("memory", _name())
        stack.callback(group.remove)
        return group
    if not clock.has("memory"):
        raise OSError("the one of its clock share is not given the controller memory")
    return clock


def _name() -> str:
    return f"sigdca-leg-{os.getpid()}-{os.urandom(4).hex()}"


def _why(error: OSError) -> str:
    return f"no cgroup can be made here ({error.strerror or error})"
