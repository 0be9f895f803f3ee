"""A head, a server and a board started as the units of cluster/ start them, with token and TLS."""

import json
import shutil
import sys

import pytest
import torch
from lab import why_not

from sigdca.models import build, save_weights
from tests.deployment.units import Units

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
    words = ["submit", "board.yaml", "--address", "http://127.0.0.1:8265", "--logs", "--json"]
    done = lab.run("head", sys.executable, "-m", "sigdca", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no node of this cluster" not in done.stderr
    report = json.loads((tmp_path / "runs/this-board/report.json").read_text())
    (target,) = report["targets"]
    assert (target["verdict"], target["evidence"]) == ("exact", "device")


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
