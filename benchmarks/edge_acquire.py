"""The acquire leg: its store when a process dies or the disk is full; what its choice is worth.

A process puts samples into a store, batch by batch, and says so; it is killed at a random moment,
or the disk is full at one. Then the store is opened, and must hold whatever was said to be there.
Another store meets far more than it may hold. The choice: a train leg on the fifth of all frames
that the model was least certain of, against one on as many that chance picked.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from claims import Claim, at_least, at_most, seen
from edge_filling import BATCH, BATCHES, SHAPE, batch
from edge_shifted import SHIFTS, trained_lenet_5, tuned
from small_disk import FILLER, fill, small_disk

from sigdca.edge.acquired import LEAST_BYTES, About, Acquired, make_store
from sigdca.edge.samples import ids_of
from sigdca.errors import SigdcaError

FILLING = Path(__file__).with_name("edge_filling.py")
DISK_SIZE = "256m"
WINDOW_S = 0.5
FULL_SHARE = 0.3
NUM_BOUNDED = 200  # batches of a store that has room for a few of them


def acquire_claims(
    cache: Path, num_deaths: int, seeds: Sequence[int], against: str
) -> list[Claim]:
    """The store after deaths and at its bound; errors by what was kept."""
    model = trained_lenet_5(cache)
    what = "turned by 25 to 35 degrees"
    degrees, noise = SHIFTS[what]
    chosen = [tuned(model, degrees, noise, seed)["after"] for seed in seeds]
    picked = [tuned(model, degrees, noise, seed, by_chance=True)["after"] for seed in seeds]
    by_choice = [mine / other for mine, other in zip(chosen, picked, strict=True)]
    return [
        *_death_claims(num_deaths, against),
        at_most(
            f"acquire: a store of {LEAST_BYTES:,} bytes at its largest",
            [_largest()],
            LEAST_BYTES,
            "bytes",
            against,
        ),
        at_most(
            f"acquire, digits {what}: error by the least certain / by chance",
            by_choice,
            1,
            "",
            against,
        ),
        seen("acquire: error by the least certain", chosen, "%"),
        seen("acquire: error by chance", picked, "%"),
    ]


def _death_claims(num_deaths: int, against: str) -> list[Claim]:
    rng = random.Random(0)
    unopened = lost = ended = full = 0
    seconds: list[float] = []
    said: list[bytes] = []
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name, "disk"), DISK_SIZE) as disk:
        root = disk / "store"
        make_store(root, About("b", SHAPE, 10, 200 << 20, False))
        for number in range(num_deaths):
            is_full = os.path.ismount(disk) and rng.random() < FULL_SHARE
            batches, code = _dies(root, number, disk if is_full else None, rng)
            said += [one for turn in batches for one in ids_of(batch(number, turn).images)]
            ended += code != 0
            full += is_full and code != 0
            start = time.monotonic()
            try:
                Acquired(root).append(batch(num_deaths + number, 0))
            except SigdcaError as error:
                print(f"death {number}: {error}", file=sys.stderr, flush=True)
                unopened += 1
            seconds.append(time.monotonic() - start)
        there = {one for _, part in Acquired(root).read() for one in ids_of(part.images)}
        lost = len(set(said) - there)
    tenth = num_deaths // 10
    counted = [
        at_most("acquire, deaths: stores that took no more", [unopened], 0, "stores", against),
        at_least("acquire, deaths: processes that did not end", [ended], tenth, "", against),
        at_least("acquire, deaths: of these, on a full disk", [full], tenth, "", against),
    ]
    return [
        *(replace(claim, n=num_deaths) for claim in counted),
        replace(
            at_most("acquire, deaths: samples lost of those stored", [lost], 0, "", against),
            n=len(said),
        ),
        at_most("acquire, deaths: opened and written again", seconds, 2, "s", against),
    ]


def _dies(root: Path, number: int, disk: Path | None, rng: random.Random) -> tuple[list[int], int]:
    """Which batches a process says are there, and its exit code."""
    command = [sys.executable, str(FILLING), str(root), str(number)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        if disk is not None:
            fill(disk, rng.randrange(BATCHES * BATCH * math.prod(SHAPE)))
        process.stdin.write("\n")
        process.stdin.flush()
        if disk is None:
            time.sleep(rng.uniform(0, WINDOW_S))
            process.kill()
        told = process.stdout.read()
        code = process.wait()
    if disk is not None:
        (disk / FILLER).unlink()
    return [int(line) for line in told.splitlines() if line], code


def _largest() -> float:
    """Of all bytes in a store's parts, after each batch."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "store")
        store = make_store(root, About("b", SHAPE, 10, LEAST_BYTES, False))
        largest = 0
        for number in range(NUM_BOUNDED):
            store.append(batch(number, 0))
            parts = (root / "parts").iterdir()
            largest = max(largest, sum(part.stat().st_size for part in parts))
    return float(largest)
