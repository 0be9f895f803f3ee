"""A camera serves one program: the daemon hands what it is not sure of to an acquire leg."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import Graph, Op, encode_container
from sigdca.edge.acquired import Acquired
from sigdca.edge.aside import NUM_WAITING, UNSURE, Aside
from sigdca.edge.samples import joined

SHAPE = (1, 8, 8)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path):
    """Sure of bright images alone."""
    fc = Op("fc", "f", (1,), {"out_features": 2, "bias": 1})
    graph = Graph(SHAPE, 1 / 256, (Op("flatten", "", (0,)), fc))
    weight = np.stack([np.full(64, 0.25), np.zeros(64)]).astype(np.float32)
    tensors = {"f.weight": weight, "f.bias": np.array([-0.5, 0], np.float32)}
    path = tmp_path / "m.dca"
    path.write_bytes(encode_container(graph, tensors))
    return path


def test_frames_in_doubt_are_kept_and_the_results_are_the_same(model, tmp_path):
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 30, (40, *SHAPE), np.uint8) * (np.arange(64).reshape(SHAPE) % 2 == 0)
    dark[:, 0, :4] = rng.integers(0, 100, (40, 4, 8))
    frames = np.concatenate([dark, rng.integers(200, 256, (40, *SHAPE))]).astype(np.uint8)
    np.save(tmp_path / "x.npy", frames)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sigdca.edge.infer", model, "--frames", tmp_path / "x.npy"),
            *("--fps", "20", "--acquire", tmp_path / "new", "--private"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 80
    store = Acquired(tmp_path / "new")
    assert store.about.private
    kept = joined([part for _, part in store.read()])
    assert 1 <= len(kept) <= 40
    assert all((image == dark).all(axis=(1, 2, 3)).any() for image in kept.images)


def test_private_belongs_to_acquire(model):
    command = [sys.executable, "-m", "sigdca.edge.infer", model, "--private"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, input=b"", capture_output=True, text=False, check=False
    )
    assert done.returncode == 2
    assert done.stderr == b"sigdca: infer: --private is for the samples of --acquire STORE\n"


READER = """
import json, os, sys, time
time.sleep(0.5)
json.dump(len(sys.stdin.buffer.read()), open(sys.argv[1], "w"))
"""


def test_a_slow_leg_costs_frames_and_no_time(tmp_path):
    pixels = np.ones((1, 1, 1000, 1000), np.uint8)  # no pipe has room for one
    aside = Aside([sys.executable, "-c", READER, str(tmp_path / "count")])
    began = time.monotonic()
    for _ in range(40):
        aside.offer(pixels, [1.0, 1.0 + UNSURE / 2, -9.0], 1.0 + UNSURE / 2)
        aside.offer(pixels, [1.0, 2.0 + UNSURE, -9.0], 2.0 + UNSURE)  # sure
    took = time.monotonic() - began
    aside.close()
    taken = json.loads((tmp_path / "count").read_text()) // pixels.size
    assert taken + aside.skipped == 40
    assert taken >= NUM_WAITING
    assert took < 5


def test_a_leg_that_has_died_is_said_once(tmp_path, capsys):
    aside = Aside([sys.executable, "-c", "raise SystemExit(3)"])
    aside._leg.wait()
    for _ in range(20):
        aside.offer(np.ones((1, 1, 300, 300), np.uint8), [0.0, 0.0], 0.0)
        time.sleep(0.01)
    aside.close()
    assert capsys.readouterr().err.count("its acquire leg has ended") == 1
