"""Joining a Ray cluster, or starting one here; and nodes that emulate a target."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import ray

from sigdca.errors import SigdcaError

SITE_LABEL = "sigdca.io/site"
TARGET_LABEL = "sigdca.io/target"
EMULATED_LABEL = "sigdca.io/emulated"
SERVERS = {SITE_LABEL: "!edge"}  # what trains and tests: every node that is not a board

NODE_START_TIMEOUT_S = 60.0
NODE_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to.

    Attributes:
        address: of its head, `host:port`.
        is_ours: it was started for this run and ends with it.
    """

    address: str
    is_ours: bool

    def num_cpus(self) -> int:
        """The CPUs of all servers; boards do not count."""
        return int(sum(node["Resources"].get("CPU", 0) for node in self._servers()))

    def num_gpus(self) -> int:
        """The GPUs of all servers."""
        return int(sum(node["Resources"].get("GPU", 0) for node in self._servers()))

    def node_for(self, target: str) -> dict[str, str] | None:
        """The labels of a living node of that target; None if there is none."""
        for node in ray.nodes():
            if node["Alive"] and node["Labels"].get(TARGET_LABEL) == target:
                return dict(node["Labels"])
        return None

    def _servers(self) -> list[dict[str, dict[str, float]]]:
        return [
            node
            for node in ray.nodes()
            if node["Alive"] and node["Labels"].get(SITE_LABEL) != "edge"
        ]


@contextlib.contextmanager
def connected(address: str | None, num_workers: int) -> Iterator[Cluster]:
    """Joins the cluster at `address`, or starts one here; see `sigdca.distributed.connect`."""
    options: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "num_cpus": max(os.cpu_count() or 1, num_workers),
            "include_dashboard": False,
            "labels": {SITE_LABEL: "private"},
        }
    try:
        ray.init(address or "local", **options)
    except Exception as error:  # Ray raises many kinds: no server, wrong token, other version
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise SigdcaError(f"cluster {address or 'on this machine'}: {reason}") from error
    try:
        yield Cluster(ray.get_runtime_context().gcs_address, address is None)
    finally:
        ray.shutdown()


@contextlib.contextmanager
def emulating_node(cluster: Cluster, target: str, num_cpus: int) -> Iterator[dict[str, str]]:
    """A second Ray node on this machine whose labels say that it emulates a target.

    Args:
        cluster: the cluster to join.
        target: the target's name.
        num_cpus: what the node offers.

    Yields:
        The node's labels.

    Raises:
        SigdcaError: the node did not come up.
    """
    labels = {SITE_LABEL: "edge", TARGET_LABEL: target, EMULATED_LABEL: "true"}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += ["--address", cluster.address, "--num-cpus", str(num_cpus)]
    command += ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())]
    command += ["--disable-usage-stats"]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:  # the node must not outlive a driver that is killed
        command = [setpriv, "--pdeathsig", "TERM", *command]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(cluster, target, process)
        yield labels
    finally:
        _end_group(process)


def _wait_for(cluster: Cluster, target: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + NODE_START_TIMEOUT_S
    while cluster.node_for(target) is None:
        if process.poll() is not None:
            raise SigdcaError(
                f"target '{target}': its emulating node ended with status {process.returncode}"
            )
        if time.monotonic() > deadline:
            raise SigdcaError(
                f"target '{target}': its emulating node did not join within "
                f"{NODE_START_TIMEOUT_S:.0f} s"
            )
        time.sleep(0.1)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the node and all its processes: they are one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(NODE_STOP_TIMEOUT_S)
    process.wait()
