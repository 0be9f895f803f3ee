"""Checkpoints that are damaged, a disk that is full, a node that is taken away."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

from sigdca.errors import SigdcaError
from sigdca.loop import Unobserved
from sigdca.storage import open_store
from tests.observers import Noting


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture
def steady(task):
    """A task whose epochs do not depend on how many follow."""
    return replace(task, config=task.config.model_copy(update={"schedule_lr": "constant"}))


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for two checkpoints."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this container mounts nothing")
    yield folder
    subprocess.run(["umount", folder], check=True)


@ray.remote
class Occupied:
    """Holds CPUs."""

    def ready(self):
        return True


@pytest.fixture
def spot(executor, monkeypatch):
    """A second node with one CPU, beside the one that is left on the head: its id and end."""
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.2")  # by default, 5 s
    head = ray.get_runtime_context().get_node_id()
    holder = Occupied.options(
        num_cpus=executor.cluster.num_cpus() - 1, label_selector={"ray.io/node-id": head}
    ).remote()
    assert ray.get(holder.ready.remote(), timeout=30)
    folder = tempfile.mkdtemp(prefix="sg-", dir="/tmp")  # sockets need short paths
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
    command += ["--address", executor.cluster.address, "--labels", "sigdca.io/site=private"]
    command += ["--disable-usage-stats", "--temp-dir", folder]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )

    def end():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    try:
        yield joined(process, {head}), end
    finally:
        end()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        ray.kill(holder)


def joined(process, known):
    """Waits for a node that is not among those known."""
    for _ in range(600):
        assert process.poll() is None
        found = {node["NodeID"] for node in ray.nodes() if node["Alive"]} - known
        if found:
            return found.pop()
        time.sleep(0.1)
    raise AssertionError("no node joined")


def preempt(node, seconds):
    """What Ray's autoscaler does when a cloud says that it takes a spot machine back."""
    client = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = round(1000 * (time.time() + seconds))
    accepted, why = client.drain_node(node, reason, "spot", deadline_ms)
    assert accepted, why


class Cloud(Noting):
    """Takes the spot node back: says so after the first epoch, and does it once that was heard."""

    def __init__(self, node, end):
        super().__init__()
        self.node, self.end = node, end

    def epoch(self, figures):
        super().epoch(figures)
        if len(self.epochs) == 1:
            preempt(self.node, seconds=15)

    def note(self, line):
        super().note(line)
        if len(self.notes) == 1:
            self.end()


def test_training_goes_on_elsewhere_when_a_spot_node_is_taken_away(executor, steady, spot):
    config = steady.config.model_copy(update={"epochs": 60, "workers_at_least": 1})
    cloud = Cloud(*spot)
    outcome = executor.train(replace(steady, config=config, train=config), cloud)
    announced, *lost, goes_on = cloud.notes
    assert re.fullmatch(r"the node of worker [01] will be taken away in \d+ s", announced)
    assert all("lost" in line for line in lost)
    assert re.fullmatch(r"training goes on after epoch \d+, with 1 worker", goes_on)
    assert [figures["epoch"] for figures in outcome.epochs] == list(range(1, 61))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(executor, steady):
    undisturbed = executor.train(replace(steady, key="whole"), Unobserved())
    two = replace(steady, config=steady.config.model_copy(update={"epochs": 2}))
    executor.train(two, Unobserved())
    run = Path(steady.checkpoints.root, steady.key)
    *_, last = sorted(path for path in run.glob("checkpoint_*") if path.is_dir())
    path = last / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    seen = Noting()
    outcome = executor.train(steady, seen)
    assert [figures["epoch"] for figures in seen.epochs] == [2, 3]
    assert same(outcome.state, undisturbed.state)


def test_a_full_disk_ends_training_with_a_word_and_loses_nothing(executor, steady, small_disk):
    undisturbed = executor.train(replace(steady, key="whole"), Unobserved())
    task = replace(steady, checkpoints=open_store(str(small_disk / "checkpoints")))
    seen = Noting()
    with pytest.raises(SigdcaError, match="No space left on device") as caught:
        executor.train(task, seen)
    assert "\n" not in str(caught.value)
    assert any("No space left on device" in note for note in seen.notes)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    seen = Noting()
    outcome = executor.train(task, seen)
    assert [figures["epoch"] for figures in seen.epochs] == [3]
    assert same(outcome.state, undisturbed.state)
