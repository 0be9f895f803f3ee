"""A head, a server and a board started as the units of cluster/ start them, with token and TLS."""

import json
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from lab import why_not

from sigdca.data import Dataset
from sigdca.models import build, save_weights
from sigdca.native import Model, Session
from tests.conftest import ROOT
from tests.deployment.units import Units
from tests.images import write_shards
from tests.pairs import images_of, write_data

JOB = """
name: this-board
model: lenet-300-100
weights: lenet.safetensors
data: {source: mnist, limit: 200}
train: {epochs: 0}
compress:
  recipe:
    - prune: {sparsity: 0.9, schedule: one-shot, epochs: 0}
    - encode
targets: [this-machine.toml]
edge_test: {num_samples: 50}
"""

WATCHED = """
name: watched
model: tiny:Tiny
data: {{source: {folder}/old}}
train: {{epochs: 12, batch_size: 20, learning_rate: 0.5}}
compress: {{recipe: [{{share: {{bits: 5}}}}, encode]}}
targets: [this-machine.toml]
edge_test: {{num_samples: 20}}
budget: {{error: 40}}
storage: {folder}/runs
watch:
  data: {folder}/new
  at_least: 1000
  releases: {folder}/releases
  channel: stable
  key: {folder}/k.key
  poll_s: 0.5
  cycles: 1
"""
DASHBOARD = "http://127.0.0.1:8265"


@pytest.fixture(scope="module")
def lab():
    if reason := why_not():
        pytest.skip(reason)
    found = Units()
    try:
        found.start()
        found.wait_for_nodes()
        yield found
    finally:
        found.stop()
        shutil.rmtree(found.folder, ignore_errors=True)


def test_nodes_of_the_units_run_a_submitted_job_and_its_leg_on_the_board(lab, tmp_path):
    torch.manual_seed(0)
    save_weights(build("lenet-300-100"), tmp_path / "lenet.safetensors")
    shutil.copy(lab.target, tmp_path)
    (tmp_path / "board.yaml").write_text(JOB + f"storage: {tmp_path}/runs\n")
    words = ["submit", "board.yaml", "--address", DASHBOARD, "--logs", "--json"]
    done = lab.run("head", sys.executable, "-m", "sigdca", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no node of this cluster" not in done.stderr
    report = json.loads((tmp_path / "runs/this-board/report.json").read_text())
    (target,) = report["targets"]
    assert (target["verdict"], target["evidence"]) == ("exact", "device")


@pytest.mark.slow
def test_a_submitted_watch_releases_what_a_boards_train_leg_sent(lab, tmp_path):
    """Its private images never leave the board; its delta comes back as an update."""

    def on(host, *words):
        done = lab.run(host, sys.executable, "-m", "sigdca", *map(str, words), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status():
        return json.loads(on("two", "edge", "status", root, "--json"))["live"]

    write_data(tmp_path / "old")
    shutil.copy(lab.target, tmp_path)
    shutil.copy(ROOT / "tests/tiny.py", tmp_path)
    (tmp_path / "watched.yaml").write_text(WATCHED.format(folder=tmp_path))
    root, releases, new = tmp_path / "board", tmp_path / "releases", tmp_path / "new"
    on("head", "keygen", tmp_path / "k")
    on("two", "edge", "setup", root, "--target", "this-machine.toml", "--key", tmp_path / "k.pub")
    words = ("submit", "watched.yaml", "--watch", "--address", DASHBOARD, "--json")
    submission = json.loads(on("head", *words))["id"]
    logs = ("submitted", "logs", submission, "--address", DASHBOARD)

    def wait_for(line):
        deadline = time.monotonic() + 300
        while line not in (said := on("head", *logs)):
            assert time.monotonic() < deadline, said
            time.sleep(1)

    wait_for("the first run is released as version 1")
    on("two", "edge", "update", root, releases)
    base = (tmp_path / "runs/watched/model.dca").read_bytes()

    # Something shines into the board's camera: all images look like class 0.
    images, labels = images_of(400, 3, glare=110)
    acquired = tmp_path / "acquired"
    dataset = Dataset(images, labels.astype(np.uint8))
    write_shards(acquired, {"train": [dataset]}, 4, "glare")
    leg = ("edge", "train", tmp_path / "runs/watched/model.dca", "--data", acquired)
    where = ("--target", "this-machine.toml", "--address", lab.address)
    on("head", *leg, *where, "--learning-rate", 0.3, "--epochs", 100, "-o", tmp_path / "d.dcd")
    store = tmp_path / "store"
    np.save(tmp_path / "frames.npy", images)
    frames = ("--frames", tmp_path / "frames.npy", "--store", store, "--private")
    on("two", "edge", "acquire", "--device", root, *frames)
    on("two", "edge", "send", store, "--delta", tmp_path / "d.dcd", "--to", new)
    sent = [path for path in new.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in sent) < 8192
    wait_for("cycle 1 is released as version 2")
    on("two", "edge", "update", root, releases)
    assert (status()["version"], status()["on_trial"]) == (2, True)

    after = (tmp_path / "runs/watched/watch/0001/model.dca").read_bytes()
    met, known = images_of(400, 4, glare=110)
    assert error_of(after, met, known) < error_of(base, met, known) / 2
    report = json.loads((tmp_path / "runs/watched/watch/0001/report.json").read_text())
    (target,) = report["targets"]
    assert (target["verdict"], target["evidence"]) == ("exact", "device")


def error_of(container, images, labels):
    logits = Session(Model(container)).run(images)
    return 100 * (logits.argmax(1) != labels).mean()


@pytest.mark.parametrize(
    ("changes", "helps"),
    [
        (lambda lab: lab.another_authority(), "certificate"),
        (lambda lab: lab.expired(), "expired"),
        (lambda lab: {"RAY_TLS_SERVER_CERT": ""}, "RAY_TLS_SERVER_CERT is not set"),
        (lambda lab: {"RAY_AUTH_TOKEN_PATH": lab.another_token()}, "refused the token"),
        (lambda lab: {"RAY_AUTH_TOKEN_PATH": "/none"}, "/none: cannot be read"),
        (lambda lab: {"RAY_AUTH_TOKEN_PATH": ""}, "RAY_AUTH_TOKEN_PATH: is not set"),
    ],
    ids=["wrong-authority", "expired", "no-certificate", "wrong-token", "no-file", "no-token"],
)
def test_a_board_that_cannot_join_says_why(lab, changes, helps):
    done = lab.join("three", **changes(lab))
    assert done.returncode in (2, 3)
    assert helps in done.stderr
    assert done.stderr.count("\n") == 1
