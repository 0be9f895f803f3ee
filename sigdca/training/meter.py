"""Where an epoch's time goes: input, compute and communication; and the bytes that it sends."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sigdca.training.parallel import Place

Item = TypeVar("Item")
Span = tuple[float, float]

# The first steps allocate memory and open connections.
SAMPLED_STEPS = (2, 3)
PAUSE_S = 15.0  # between two samples: each takes some tens of milliseconds
BYTES_ACKED = struct.Struct("=Q"), 120  # tcpi_bytes_acked of Linux's struct tcp_info


class Meter:
    """Measures a process's part of a stage.

    Input is timed in every step. Communication is seen by torch's profiler in two steps of an
    epoch, in the process of rank 0, and taken as the same share of all others: what counts is the
    time in which a collective is under way and nothing is computed.
    """

    def __init__(self, place: Place) -> None:
        """Measures nothing yet."""
        self._place = place
        self._samples = place.rank == 0 and place.world_size > 1
        self._due, self._sampled_at = True, -PAUSE_S
        self._share = 0.0
        self._step_s = self._communication_s = 0.0
        self._input_s = 0.0

    def inputs(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches, and how long each was waited for."""
        items = iter(batches)
        while True:
            start = time.perf_counter()
            item = next(items, None)
            self._input_s += time.perf_counter() - start
            if item is None:
                return
            yield item

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around all of a step but its input; `number` is the step's in the epoch."""
        if number == SAMPLED_STEPS[0]:
            self._due = time.monotonic() - self._sampled_at >= PAUSE_S
        if not self._samples or number not in SAMPLED_STEPS or not self._due:
            yield
            return
        self._sampled_at = time.monotonic()
        on_gpu = self._place.device.startswith("cuda")
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        profiler: Any = profile(activities=activities)
        with without_marks():
            profiler.start()
        try:
            start = time.perf_counter()
            yield
            if on_gpu:
                torch.cuda.synchronize()
            self._step_s += time.perf_counter() - start
        finally:
            with without_marks():
                profiler.stop()
        self._communication_s += exposed_s(profiler.events() or (), on_gpu)
        self._share = min(1.0, self._communication_s / self._step_s)

    def split(self, duration_s: float) -> dict[str, float]:
        """The seconds of an epoch that lasted `duration_s`, by what they went into."""
        input_s = min(self._input_s, duration_s)
        self._input_s = 0.0
        communication_s = self._share * (duration_s - input_s)
        return {
            "input_s": input_s,
            "compute_s": duration_s - input_s - communication_s,
            "communication_s": communication_s,
        }


@contextlib.contextmanager
def without_marks() -> Iterator[None]:
    """Standard error without the profiler's marks for tracers of the system; all else passes.

    Its own level of what is told, KINETO_LOG_LEVEL, has them above errors: both would be silent.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                held.seek(0)
                told = [line for line in held if not line.startswith(b"USDT:")]
                os.write(2, b"".join(told))
    finally:
        os.close(kept)


def exposed_s(events: Iterable[Any], on_gpu: bool) -> float:
    """Seconds in which a collective was under way and nothing was computed.

    Args:
        events: torch's `FunctionEvent`s.
        on_gpu: by the kernels of the GPU; otherwise by what the processor did.
    """
    device = DeviceType.CUDA if on_gpu else DeviceType.CPU
    here = [event for event in events if event.device_type == device]
    collectives, computed = [], []
    for event in here:
        span = (event.time_range.start, event.time_range.end)
        if ("nccl" if on_gpu else "gloo:") in event.name:
            collectives.append(span)
        elif on_gpu or event.name.startswith("aten::"):
            computed.append(span)
    busy = _union(computed)
    both = sum(_overlap(span, busy) for span in _union(collectives))
    return (sum(end - start for start, end in _union(collectives)) - both) / 1e6


def _union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _overlap(span: Span, others: Iterable[Span]) -> float:
    start, end = span
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in others)


def sent_bytes(device: str = "cpu") -> int:
    """What other ends have received so far of this process's open TCP connections.

    Counted by the kernel, so whatever library sends it. 0 where the system does not tell: of what
    lies on a GPU, NCCL sends nothing by TCP where there is NVLink, shared memory or InfiniBand.
    """
    if device != "cpu" or not os.path.isdir("/proc/self/fd"):
        return 0
    total = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            number = int(name)
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                total += _acknowledged(number)
    return total


def _acknowledged(descriptor: int) -> int:
    """The bytes of a TCP connection that have arrived; 0 for other sockets."""
    layout, offset = BYTES_ACKED
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return 0
        if connection.type != socket.SOCK_STREAM:
            return 0
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + layout.size)
    if len(info) < offset + layout.size:
        return 0
    return int(layout.unpack_from(info, offset)[0])
