"""What takes turns in benchmarks/native.py: sigdca from Python and from C, and the peers."""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from paper_networks import SHAPES, paper_network
from peers import Peer, PeerError, write_models

from sigdca.data import load
from sigdca.native import Model, Session
from sigdca.native.programs import find_program

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "benchmarks"
SCALE = 1 / 256  # of every network's input
WARM_UP = 5  # calls after another side's turn that do not count: caches, clock, AMX's power


class Side(Protocol):
    """What can be timed."""

    name: str

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """Microseconds of each of so many calls, behind some that do not count."""


class NativeSide:
    """The library, called from Python with its arrays bound."""

    def __init__(
        self, container: Path, images: NDArray[np.uint8], profile: str, isa: str, threads: int
    ) -> None:
        """Opens a session for batches of as many images as are given."""
        self.name = f"sigdca {profile}"
        model = Model(container)
        self.session = Session(
            model, profile=profile, threads=threads, max_batch=len(images), isa=isa or None
        )
        logits = np.empty((len(images), model.info.num_classes), np.float32)
        self._call = self.session.bind(images, logits)

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """See `Side`."""
        return timed(self._call, repeats, warm_up)


class CSide:
    """The library, called from C: `dca-run bench`, its median standing for each call."""

    def __init__(
        self, container: Path, images: NDArray[np.uint8], profile: str, isa: str, threads: int
    ) -> None:
        """Writes the images where the program finds them."""
        self.name = f"sigdca {profile}, C"
        self.pixels = CACHE / f"{container.stem}-{len(images)}-pixels.npy"
        np.save(self.pixels, images)
        options = ["--profile", profile, "--threads", str(threads), "--batch", str(len(images))]
        options += ["--isa", isa] if isa else []
        self._command = [str(program()), "bench", str(container), "--images", str(self.pixels)]
        self._command += [*options, "--json"]

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """See `Side`."""
        return [self.result(repeats, warm_up)["p50_us"]]

    def result(self, repeats: int, warm_up: int = WARM_UP) -> dict[str, float]:
        """All that the program says."""
        command = [*self._command, "--runs", str(repeats), "--warm-up", str(warm_up)]
        done = subprocess.run(command, check=True, capture_output=True)
        return json.loads(done.stdout)


def program() -> Path:
    """This machine's dca-run."""
    found = find_program("x86_64")
    if found is None:
        sys.exit("dca-run is not installed: make setup")
    return found


def timed(call: Callable[[], object], repeats: int, warm_up: int = 0) -> list[float]:
    """Microseconds of each of so many calls, behind some that do not count."""
    times = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1000)
    return times[warm_up:]


def take_turns(sides: Sequence[Side], rounds: int, repeats: int) -> list[list[float]]:
    """For each side its median of every round, in microseconds, once it is warm again."""
    result: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        for side, medians in zip(sides, result, strict=True):
            median = statistics.median(side.run(repeats, min(WARM_UP, repeats)))
            if number:
                medians.append(median)
    return result


@functools.cache
def network(name: str) -> tuple[Path, Path]:
    """A paper's network: its container, and the peers' files without suffix."""
    path, graph, tensors = paper_network(name, CACHE)
    return path, write_models(name, graph, tensors, images(name, 16), CACHE)


@functools.cache
def images(name: str, count: int) -> NDArray[np.uint8]:
    """The first MNIST digits for a LeNet, random pixels for others."""
    if name.startswith("lenet"):
        return np.ascontiguousarray(load("mnist", "test").images[:count])
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *SHAPES[name]), dtype=np.uint8)


def open_peers(
    stack: ExitStack, names: Sequence[str], network_name: str, batch: int, threads: int
) -> list[Peer]:
    """Those of the peers that can run the network here; the others are named on standard error."""
    opened = []
    for name in names:
        try:
            peer = Peer(
                name, network(network_name)[1], images(network_name, batch), SCALE, threads
            )
        except PeerError as error:
            print(f"{network_name}: left out: {error}", file=sys.stderr)
            continue
        opened.append(stack.enter_context(peer))
    return opened
