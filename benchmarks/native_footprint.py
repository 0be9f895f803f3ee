"""Memory, cold start and size of the native library."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from claims import Claim, at_most
from native_sides import CSide, images, network, open_peers, program

from sigdca.native import library_path


def peak_memory(name: str) -> list[Claim]:
    """Dca-run's peak by that of a peer of its precision, Python left out; one image a call."""
    pixels, container = images(name, 1), network(name)[0]
    claims = []
    for profile, rival in (("fast", "onnxruntime"), ("int8", "litert-int8")):
        ours = CSide(container, pixels, profile, "", 1).result(2)["peak_resident_bytes"]
        with ExitStack() as stack:
            (peer,) = open_peers(stack, [rival], name, 1, 1)
            theirs = peer.peak_bytes()
        against = f"{rival}, {ours / 1e6:.0f} MB by {theirs / 1e6:.0f} MB"
        claim = at_most(f"{name}: peak memory, {profile}", [ours / theirs], 0.25, "x", against)
        claims.append(claim)
    return claims


def cold_start(runs: int = 30) -> Claim:
    """From before the process exists to LeNet-5's first result, as its parent sees it."""
    container = network("lenet-5")[0]
    pixels = CSide(container, images("lenet-5", 1), "fast", "", 1).pixels
    command = [str(program()), "test", str(container), "--images", str(pixels)]
    command += ["--profile", "fast", "--json"]
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True)
        times.append(1000 * (time.perf_counter() - start))
        json.loads(done.stdout)
    return at_most("lenet-5: process start to first result, and its end", times, 10, "ms")


def library_size() -> Claim:
    """The shared library without its symbols, in KB of 1,000 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "stripped.so"
        shutil.copyfile(library_path(), copy)
        subprocess.run(["strip", str(copy)], check=True)
        return at_most("libsigdca.so, stripped", [copy.stat().st_size / 1000], 600, "KB")
