"""New data closes the loop: from shifted digits that a board sees to the release that it takes.

`sigdca run --watch` trains and compresses LeNet-5 (`jobs/lenet-5-mnist.yaml`, cut short) and
releases it. A board takes it, sees shifted digits of MNIST's training images, keeps those that its
model is least certain of, and sends them, with the labels that became known. The loop goes round
again and releases; the board takes that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, at_least, at_most, seen
from edge_shifted import (
    CUT_SHORT,
    NUM_FRAMES,
    ROOT,
    SHARE,
    SHIFTS,
    SIGDCA,
    set_options,
    shifted,
    sigdca,
    write_classes,
    write_test,
)

from sigdca.data import Dataset, load

JOB = "jobs/lenet-5-mnist.yaml"
BOARD = "jetson-tx2-cpu"
WHAT = "turned by 25 to 35 degrees"
LEAST_SAMPLES = 500
LONGEST_S = 3600.0  # of either round


def watch_claims(seeds: Sequence[int], against: str) -> list[Claim]:
    """Errors before and after, and how long it took."""
    found = [_redeployed(seed) for seed in seeds]
    return [
        at_most(
            f"run --watch, digits {WHAT}: error of the release after / before",
            [one["after"] / one["before"] for one in found],
            0.5,
            "",
            against,
        ),
        at_least(
            "run --watch: releases that went live on the board",
            [one["version"] for one in found],
            2,
            "",
            against,
        ),
        seen("run --watch: redeployment time", [one["redeployment_s"] for one in found], "s"),
        seen("run --watch: new images", [one["num_images"] for one in found], ""),
        seen("run --watch: error before", [one["before"] for one in found], "%"),
        seen("run --watch: error after", [one["after"] for one in found], "%"),
        seen("run --watch: error on upright ones", [one["upright"] for one in found], "%"),
    ]


def _redeployed(seed: int) -> dict[str, float]:
    """One board and one cycle."""
    known, unseen = load("mnist", "train"), load("mnist", "test")
    met = np.random.default_rng(seed).permutation(len(known))[:NUM_FRAMES]
    degrees, noise = SHIFTS[WHAT]
    with tempfile.TemporaryDirectory() as name:
        frames, store, server = Path(name, "frames"), Path(name, "store"), Path(name, "server")
        root, releases, new = f"{name}/board", f"{name}/releases", f"{name}/new"
        images = shifted(known.images[met], degrees, noise, 2 * seed)
        write_classes(frames, images, known.labels[met])
        images = shifted(unseen.images, degrees, noise, 2 * seed + 1)
        write_test(server, Dataset(images, unseen.labels))
        sigdca("keygen", f"{name}/k", as_json=False)
        sigdca("edge", "setup", root, "--target", BOARD, "--key", f"{name}/k.pub", as_json=False)
        watch = {
            "data": new,
            "at_least": LEAST_SAMPLES,
            "releases": releases,
            "channel": "stable",
            "key": f"{name}/k.key",
            "poll_s": 1.0,
            "cycles": 1,
        }
        settings = [
            *CUT_SHORT,
            *(f"seed={seed}", f"storage={name}/runs", f"watch={json.dumps(watch)}"),
            *(f"targets=[atom-x5-e3940, {BOARD}]", "edge_test.num_samples=500"),
        ]
        with _Watcher(settings, Path(name)) as watcher:
            watcher.wait_for("is released as version 1")
            sigdca("edge", "update", root, releases, as_json=False)
            seen_here = ("--device", root, "--frames", frames, "--labelled", "--store", store)
            sigdca("edge", "acquire", *seen_here, "--margin", 1, "--share", SHARE)
            sigdca("edge", "send", store, "--to", new, as_json=False)
            _, cycle = watcher.ended()["cycles"]
        if not cycle["accepted"]:
            raise SystemExit(f"the cycle was not accepted: {cycle['reason']}")
        sigdca("edge", "update", root, releases, as_json=False)
        run = Path(name, "runs/lenet-5-mnist")
        after = run / "watch/0001/model.dca"
        found = {
            "before": sigdca("test", run / "model.dca", "--data", server)["error"],
            "after": sigdca("test", after, "--data", server)["error"],
            "upright": sigdca("test", after, "--data", "mnist")["error"],
            "version": sigdca("edge", "status", root)["live"]["version"],
            "redeployment_s": cycle["redeployment_s"],
            "num_images": cycle["num_images"],
        }
    print(f"watch, seed {seed}: {found}", file=sys.stderr, flush=True)
    return found


class _Watcher:
    """`sigdca run --watch`, beside the board."""

    def __init__(self, settings: Sequence[str], folder: Path) -> None:
        self._said, self._told = folder / "watch.log", folder / "watch.json"
        self._command = [*SIGDCA, "run", JOB, "--watch", "--json", *set_options(settings)]

    def __enter__(self) -> _Watcher:
        with self._said.open("wb") as said, self._told.open("wb") as told:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=told, stderr=said)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, line: str) -> None:
        """Until it has said so."""
        deadline = time.monotonic() + LONGEST_S
        while line not in self._said.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"run --watch did not say '{line}':\n{self._said.read_text()}")
            time.sleep(0.5)

    def ended(self) -> dict[str, Any]:
        """What it printed, when it has ended."""
        if self._process.wait(timeout=LONGEST_S) not in (0, 1):
            raise SystemExit(f"run --watch failed:\n{self._said.read_text()}")
        told: dict[str, Any] = json.loads(self._told.read_text())
        return told
