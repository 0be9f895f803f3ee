"""Real-time inference: LeNet-5, a frame a millisecond, on one CPU.

A witness runs on the same CPU with a higher priority, does nothing but wake up every millisecond,
and writes down when it could not: then the CPU was not there, for the daemon either. Deadlines are
counted all together, and those alone that no such gap explains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from claims import Claim, at_least, at_most
from paper_networks import paper_network

PERIOD_NS = 10**6
DEADLINE_MS = 5.0
WITNESS = """
import ctypes, os, sys, time
cpu, fifo = int(sys.argv[1]), int(sys.argv[2])
ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)
os.sched_setaffinity(0, {cpu})
if fifo:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
while True:
    due = time.monotonic_ns() + 10**6
    time.sleep(0.001)
    after = time.monotonic_ns()
    if after - due > 10**6:
        print(due, after, flush=True)
"""


@dataclass(frozen=True)
class Late:
    """A frame whose deadline was missed.

    Attributes:
        arrived_ns: when it came, by `time.monotonic_ns`.
        done_ns: when its result was there.
    """

    arrived_ns: int
    done_ns: int


def infer_claims(cache: Path, seconds: float, against: str) -> list[Claim]:
    """What the daemon and the witness saw.

    Args:
        cache: where the model is kept.
        seconds: for how long frames come.
        against: whose bounds these are.
    """
    model = paper_network("lenet-5", cache)[0]
    cpu, fifo = max(os.sched_getaffinity(0)), may_have_fifo()
    told, memory, late, gaps = _infer(model, frames_file(cache), cpu, seconds, fifo)
    longest = max((end - start for start, end in gaps), default=0) / 1e6
    machine = f"the CPU was away {len(gaps)} times for 1 ms or more, max {longest:.1f} ms"
    how = f"CPU {cpu}, {'SCHED_FIFO' if fifo else 'an ordinary thread'}"
    half = memory[len(memory) // 2 :]
    name = "infer, LeNet-5 at 1,000 fps: 5 ms deadlines missed"
    return [
        at_most(name, [told["late"] + told["dropped"]], 0, "frames", machine),
        at_most(
            "infer: of these, while the CPU was there", [unexplained(late, gaps)], 0, "frames", how
        ),
        at_most("infer: p99", [told["latency_p99_us"] / 1000], DEADLINE_MS, "ms", how),
        at_most("infer: p99.9", [told["latency_p999_us"] / 1000], DEADLINE_MS, "ms", how),
        at_most("infer: max", [told["latency_max_us"] / 1000], DEADLINE_MS, "ms", how),
        at_least("infer: frames", [told["frames"]], 1000 * seconds, "frames", against),
        at_most("infer: memory (RSS)", [told["rss_bytes"] / 1e6], 60, "MB", against),
        at_most(
            "infer: growth in the second half", [(half[-1] - half[0]) / 1e6], 0.1, "MB", against
        ),
    ]


def unexplained(late: Sequence[Late], gaps: Sequence[tuple[int, int]]) -> int:
    """Missed deadlines of frames that were in time but for the gaps.

    A frame waits for those before it, too: what a gap has delayed is made up for at the daemon's
    own speed, so frames count as explained until it has caught up.

    Args:
        late: in the order of their arrival.
        gaps: start and end, in nanoseconds of `time.monotonic_ns`.
    """
    count, until = 0, 0
    for frame in late:
        met = [end for start, end in gaps if start < frame.done_ns and end > frame.arrived_ns]
        if met or frame.arrived_ns < until:
            until = max(until, frame.done_ns)
        else:
            count += 1
    return count


def frames_file(cache: Path) -> Path:
    """2,000 images with as much ink as MNIST's digits."""
    path = cache / "frames.npy"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2000, 1, 28, 28), dtype=np.uint8)
    pixels[rng.random(pixels.shape) < 0.8] = 0
    np.save(path, pixels)
    return path


def may_have_fifo() -> bool:
    """Whether this user's processes may be real-time threads."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _infer(
    model: Path, frames: Path, cpu: int, seconds: float, fifo: bool
) -> tuple[dict[str, float], list[int], list[Late], list[tuple[int, int]]]:
    """The daemon's own figures, its memory second by second, late frames, the witness' gaps."""
    with tempfile.TemporaryDirectory() as name:
        summary = Path(name, "summary.json")
        command = [sys.executable, "-m", "sigdca.edge.infer", str(model), "--frames", str(frames)]
        command += ["--fps", "1000", "--repeat", "--limit", str(int(1000 * seconds))]
        command += ["--deadline-ms", str(DEADLINE_MS), "--cpu", str(cpu)]
        command += ["--summary", str(summary), *(["--fifo", "50"] if fifo else [])]
        watching = [sys.executable, "-c", WITNESS, str(cpu), str(int(fifo))]
        memory: list[int] = []
        with (
            subprocess.Popen(watching, stdout=subprocess.PIPE) as witness,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon,
        ):
            thread = threading.Thread(target=_follow, args=(daemon, memory), daemon=True)
            thread.start()
            late = _late(daemon)
            witness.kill()
            said = witness.communicate()[0]
            if daemon.wait():
                raise RuntimeError(f"infer ended with {daemon.returncode}")
            thread.join()
        told = json.loads(summary.read_text())
    lines = said.decode().splitlines()
    gaps = [(int(start), int(end)) for start, end in map(str.split, lines)]
    return told, memory, late, gaps


def _late(daemon: subprocess.Popen[bytes]) -> list[Late]:
    """Of the results. Frames arrive a period apart, the first when the latencies say so."""
    assert daemon.stdout is not None
    first, missed = 2**63, []  # no line is read before it was written, so the earliest is true
    for line in daemon.stdout:
        now, told = time.monotonic_ns(), json.loads(line)
        first = min(first, now - 1000 * told["latency_us"] - PERIOD_NS * told["frame"])
        if not told["met"]:
            missed.append((told["frame"], told["latency_us"]))
    arrivals = [(first + PERIOD_NS * frame, 1000 * took) for frame, took in missed]
    return [Late(arrived, arrived + took) for arrived, took in arrivals]


def _follow(daemon: subprocess.Popen[bytes], memory: list[int]) -> None:
    """What is not mapped from files, whose pages come and go."""
    while daemon.poll() is None:
        time.sleep(1)
        try:
            lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
        except OSError:
            return
        memory += [1024 * int(x.split()[1]) for x in lines if x.startswith("RssAnon:")]
