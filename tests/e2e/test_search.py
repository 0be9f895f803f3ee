"""`sigdca search` as a user runs it: killed, gone on with, interrupted, refused."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

JOB = """
name: study
model: lenet-300-100
data: {source: mnist, limit: 600}
train: {workers: 2, epochs: 1, batch_size: 50, learning_rate: 0.1}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 2, learning_rate: 0.05}
    - share: {bits: 4, epochs: 1}
    - encode
search:
  space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.7, 0.99]}}
  num_trials: 6
  sensitivity_images: 100
  fidelities: [0.0, 1.0]
budget: {container_bytes: 60000}
"""


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(JOB + f"storage: {tmp_path / 'runs'}\n")
    return [sys.executable, "-m", "sigdca", "search", str(path)]


def start(command):
    # A shell lets Ctrl-C through; a test runner's children may have it ignored.
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def read_until(driver, beginning):
    said = []
    for line in driver.stderr:
        said.append(line)
        if line.startswith(beginning):
            return
    raise AssertionError(f"the search never said {beginning!r}, but: {''.join(said)}")


@pytest.mark.slow
def test_a_killed_study_goes_on_and_an_interrupted_one_ends_with_its_best(command, tmp_path):
    study = tmp_path / "runs" / "study"
    with start(command) as driver:
        read_until(driver, "trial 1:")
        os.kill(driver.pid, signal.SIGKILL)
    index = study / "shared" / "index"
    done = {path: path.stat().st_mtime_ns for path in index.iterdir()}
    first = json.loads((study / "trials" / "0001.json").read_text())
    assert first["status"] == "done"
    assert (study / "model.dca").exists()
    with start([*command, "--resume", "--json", "--set", "search.num_trials=1000"]) as driver:
        read_until(driver, "trial 4:")
        driver.send_signal(signal.SIGINT)
        said, outcome = driver.stderr.read(), json.loads(driver.stdout.read())
        assert driver.wait() == 0, said
    assert "Traceback" not in said
    assert (outcome["status"], outcome["why"]) == ("interrupted", "interrupted")
    assert outcome["meets_budget"]
    assert json.loads((study / "trials" / "0001.json").read_text()) == first
    assert {path: path.stat().st_mtime_ns for path in done} == done, "nothing was run twice"
    states = [json.loads(path.read_text())["status"] for path in (study / "trials").glob("*.json")]
    assert set(states) <= {"done", "pruned", "stopped"}
    assert "<svg" in (study / "report.html").read_text()


def test_a_typo_in_a_path_is_one_line_before_ray_starts(command):
    done = subprocess.run(
        [*command, "--set", "search.space={compress.recipe.0.prune.sparsty: {uniform: [0, 0.9]}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "prune.sparsty: unknown key; did you mean 'sparsity'?" in done.stderr
