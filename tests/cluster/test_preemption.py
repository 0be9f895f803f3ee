"""A spot node that its cloud takes back."""

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

import pytest
import ray
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

from sigdca.distributed import connect
from tests.observers import Noting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executor():
    """On a cluster whose head has one CPU, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1")  # a cluster of one node has none
        patch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.2")  # by default, 5 s
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "10")
        with connect(None, 1) as found:
            yield found


@pytest.fixture
def spot(executor):
    """A second node with one CPU: its id, and its end."""
    folder = tempfile.mkdtemp(prefix="sg-", dir="/tmp")  # sockets need short paths
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
    command += ["--address", executor.cluster.address, "--labels", "sigdca.io/site=private"]
    command += ["--disable-usage-stats", "--temp-dir", folder]
    head = ray.get_runtime_context().get_node_id()
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


def test_training_goes_on_elsewhere_when_a_spot_node_is_taken_away(executor, task, spot):
    config = task.config.model_copy(update={"epochs": 60, "workers_at_least": 1})
    cloud = Cloud(*spot)
    outcome = executor.train(replace(task, config=config, train=config), cloud)
    announced, *lost, goes_on = cloud.notes
    assert re.fullmatch(r"the node of worker [01] will be taken away in \d+ s", announced)
    assert all("lost" in line or "no room" in line for line in lost)
    assert re.fullmatch(r"training goes on after epoch \d+, with 1 worker", goes_on)
    assert [figures["epoch"] for figures in outcome.epochs] == list(range(1, 61))
