"""Devices: updates that are cut off at random moments, real-time inference, and new data.

`python benchmarks/edge.py [--quick] [--json]`. Updates: 1,000 (quick: 40), each killed, or stopped
by a full disk, at a random moment; then the device is started again. Inference: LeNet-5 with Deep
Compression's densities at 1,000 frames a second for 10 minutes (quick: 20 s), on the last CPU,
as a SCHED_FIFO thread where that is allowed: an idle core on a machine that is not idle. A witness
on that CPU tells when it was not there (`--infer`: only this).
Then claims that can be measured alone: the acquire leg's store, killed at random moments, and what
its choice is worth (`--acquire`); the train leg on digits that were turned, or are in noise
(`--shifted`); `run --watch` on them, from a board to its update (`--watch`); the predictor's error
on this machine (`--predictor`); the engines' agreement and the verdict on int8 (`--engines`); and,
only so, the loop with two boards of which one is lost (`--boards`, as root).
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from claims import Claim, at_least, at_most, main
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from edge_acquire import acquire_claims
from edge_hostile import hostile_claims
from edge_infer import frames_file, infer_claims, may_have_fifo
from edge_shifted import shifted_claims
from edge_watch import watch_claims
from engines import agreement_claims, int8_claims
from paper_networks import paper_network
from predictor import predictor_claims
from small_disk import FILLER, fill, small_disk

from sigdca.edge.keys import public_text
from sigdca.edge.self_test import self_test
from sigdca.edge.signing import sign_container
from sigdca.edge.update import Device, Health, Settings, set_up

CACHE = Path(__file__).parent.parent / ".cache" / "edge"
ISSUE = "this project's own bound"
WELL = Health(uptime_s=1e6, met=10**6, late=0, dropped=0)
FULL_DISK_BYTES = 24_000  # one slot and a half
# Imports first, so that the moment of the end falls into the update and not into Python's start.
INSTALL = """
import sys
from pathlib import Path
from sigdca.edge.self_test import self_test
from sigdca.edge.update import Device
device, content = Device(Path(sys.argv[1]), prove=self_test), Path(sys.argv[2]).read_bytes()
print("ready", flush=True)
sys.stdin.readline()
device.install(content)
"""
START = """
import sys, time
from pathlib import Path
from sigdca.edge.update import Device
start = time.monotonic()
print(Device(Path(sys.argv[1])).start().manifest.version, time.monotonic() - start)
"""


def measure(quick: bool) -> list[Claim]:
    """All claims."""
    return [
        *update_claims(40 if quick else 1000),
        *measure_infer(quick),
        *switch_claims(3 if quick else 20),
        *hostile_claims(container_of("lenet-5"), 5_000 if quick else 100_000, ISSUE),
        *measure_acquire(quick),
        *measure_shifted(quick),
        *measure_watch(quick),
        *measure_predictor(quick),
        *measure_engines(quick),
    ]


def measure_infer(quick: bool) -> list[Claim]:
    """Only real-time inference."""
    return infer_claims(CACHE, 20.0 if quick else 600.0, ISSUE)


def measure_acquire(quick: bool) -> list[Claim]:
    """Only the acquire leg: its store, and what its choice is worth."""
    return acquire_claims(CACHE, 20 if quick else 300, range(1 if quick else 3), ISSUE)


def measure_shifted(quick: bool) -> list[Claim]:
    """Only the train leg on shifted digits."""
    return shifted_claims(CACHE, range(1 if quick else 3), ISSUE)


def measure_watch(quick: bool) -> list[Claim]:
    """New data that lead to a release."""
    return watch_claims(range(1 if quick else 3), ISSUE)


def measure_predictor(quick: bool) -> list[Claim]:
    """The predictor's error alone."""
    return predictor_claims(quick)


def measure_engines(quick: bool) -> list[Claim]:
    """The engines' agreement and OpenVINO's verdicts alone."""
    return [*agreement_claims(quick, CACHE), *int8_claims(quick, CACHE)]


def measure_boards(quick: bool) -> list[Claim]:
    """The loop with two emulated boards, of which one is lost (as root; minutes)."""
    from edge_boards import boards_claims  # which takes its lab from the tests

    return boards_claims(quick, ISSUE)


def container_of(name: str) -> bytes:
    """A network with Deep Compression's densities."""
    return paper_network(name, CACHE)[0].read_bytes()


def update_claims(num_updates: int) -> list[Claim]:
    """Updates that are cut off: what is live afterwards, and after how long."""
    rng = random.Random(0)
    key = Ed25519PrivateKey.generate()
    containers = [paper_network("lenet-300-100", CACHE, seed)[0].read_bytes() for seed in (0, 1)]
    settings = Settings("atom-x5-e3940", "stable", (public_text(key.public_key()),))
    bricked = mixed = ended = went_live = 0
    seconds: list[float] = []
    whole_seconds: list[float] = []
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk", "256k") as disk:
        root = disk / "device"
        set_up(root, settings)
        device = Device(root, prove=self_test)
        update = Path(name, "next.dcu")
        good = live = 0
        window = 0.0
        for version in range(1, num_updates + 2):
            content = containers[version % 2]
            update.write_bytes(
                sign_container(
                    content,
                    key=key,
                    version=version,
                    channel="stable",
                    targets=[settings.target],
                    model="lenet-300-100",
                )
            )
            if version == 1:
                start = time.monotonic()
                good = live = device.install(update.read_bytes()).version
                window = 4 * (time.monotonic() - start)
                continue
            allowed = {good, live, version}
            ended += _cut_off(root, update, disk, window, rng)
            start = time.monotonic()
            done = _python(START, root)
            whole_seconds.append(time.monotonic() - start)
            version_text, _, own_seconds = done.partition(" ")
            found = int(version_text) if own_seconds else 0
            seconds += [float(own_seconds)] if own_seconds else []
            bricked += found == 0
            mixed += found not in allowed
            went_live += found == version
            live = found or live
            if found and rng.random() < 0.5:
                Device(root, prove=self_test).report(found, WELL)
                good = found
    tenth = num_updates // 10
    counted = [
        at_most("updates cut off: devices without a live model", [bricked], 0, "devices", ISSUE),
        at_most("updates cut off: another version than allowed", [mixed], 0, "devices", ISSUE),
        at_least("updates whose process did not come to its end", [ended], tenth, "", ISSUE),
        at_least("updates that were live afterwards", [went_live], tenth, "", ISSUE),
        at_least("updates that were not", [num_updates - went_live], tenth, "", ISSUE),
    ]
    return [
        *(replace(claim, n=num_updates) for claim in counted),
        at_most("a verified model live again: median", seconds, 2, "s", ISSUE),
        at_most("a verified model live again: the longest", [max(seconds)], 2, "s", ISSUE),
        at_most("the same with Python's start: median", whole_seconds, 2, "s", ISSUE),
        at_most("the same with Python's start: the longest", [max(whole_seconds)], 2, "s", ISSUE),
    ]


def _cut_off(root: Path, update: Path, disk: Path, window: float, rng: random.Random) -> bool:
    """Whether the process was kept from its end, within so many seconds."""
    full = rng.random() < 0.3
    command = [sys.executable, "-c", INSTALL, str(root), str(update)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=_small_files if full and not os.path.ismount(disk) else None,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        if full and os.path.ismount(disk):  # room for a part of the update
            fill(disk, rng.randrange(FULL_DISK_BYTES))
        process.stdin.write(b"\n")
        process.stdin.flush()
        if not full:
            time.sleep(rng.uniform(0, window))
            process.send_signal(signal.SIGKILL)
        code = process.wait()
        (disk / FILLER).unlink(missing_ok=True)
    return code != 0


def _small_files() -> None:
    """Stands for a full disk where none can be mounted."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES // 2, FULL_DISK_BYTES // 2))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def switch_claims(num_updates: int) -> list[Claim]:
    """Updates under the same load, each of which proves itself before the next one comes."""
    key = Ed25519PrivateKey.generate()
    keys = (public_text(key.public_key()),)
    settings = Settings("atom-x5-e3940", "stable", keys, trial_s=1.0, max_missed=1.0)
    containers = [paper_network("lenet-5", CACHE, seed)[0].read_bytes() for seed in (0, 1)]
    cpu, fifo = max(os.sched_getaffinity(0)), may_have_fifo()
    with tempfile.TemporaryDirectory() as name:
        device = set_up(Path(name, "device"), settings)

        def install(version: int) -> None:
            told = {"version": version, "channel": "stable", "targets": [settings.target]}
            content = containers[version % 2]
            device.install(sign_container(content, key=key, model="lenet-5", **told))

        install(1)
        summary = Path(name, "summary.json")
        command = [
            sys.executable,
            "-m",
            "sigdca.edge.infer",
            "--device",
            str(Path(name, "device")),
        ]
        command += ["--frames", str(frames_file(CACHE)), "--fps", "1000", "--repeat"]
        command += ["--deadline-ms", "5", "--cpu", str(cpu), "--summary", str(summary)]
        command += ["--fifo", "50"] if fifo else []
        # A pipe would make the loop wait for this process, which is not what is measured.
        results = Path(name, "results.jsonl")
        with (
            open(results, "wb") as output,
            subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as process,
        ):
            while not results.stat().st_size:
                time.sleep(0.1)
            for version in range(2, num_updates + 2):
                install(version)
                while device.state().trial is not None and process.poll() is None:
                    time.sleep(0.1)
            process.terminate()
            process.wait()
        numbers = [json.loads(line)["frame"] for line in results.read_text().splitlines()]
        told = json.loads(summary.read_text())
    missing = max(numbers) + 1 - len(set(numbers))
    late = told["late"] + told["dropped"]
    return [
        at_most("updates under 1,000 fps: frames without a result", [missing], 0, "frames", ISSUE),
        at_least("updates under 1,000 fps: switches", [told["switches"]], num_updates, "", ISSUE),
        at_most("updates under 1,000 fps: 5 ms deadlines missed", [late], 0, "frames", ISSUE),
        at_most("updates under 1,000 fps: max", [told["latency_max_us"] / 1000], 5, "ms", ISSUE),
    ]


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        infer=measure_infer,
        acquire=measure_acquire,
        shifted=measure_shifted,
        watch=measure_watch,
        predictor=measure_predictor,
        engines=measure_engines,
        boards=measure_boards,
    )
