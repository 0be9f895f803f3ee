"""Joining a Ray cluster, or starting one here; and nodes that emulate a target."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from sigdca.distributed.labels import EMULATED_LABEL as EMULATED_LABEL
from sigdca.distributed.labels import SERVERS as SERVERS
from sigdca.distributed.labels import SITE_LABEL as SITE_LABEL
from sigdca.distributed.labels import TARGET_LABEL as TARGET_LABEL
from sigdca.distributed.labels import TEMPORARY_LABEL
from sigdca.distributed.preflight import REFUSED, check_head
from sigdca.distributed.sites import site_of, slots
from sigdca.edge.legs import Evidence
from sigdca.errors import SigdcaError
from sigdca.job import DataSource
from sigdca.targets import Target

SOCKET_FOLDER = "/tmp"  # where Ray's own are; a socket's path has little room
NODE_START_TIMEOUT_S = 60.0
NODE_STOP_TIMEOUT_S = 2.0  # it has left the cluster within a second; there is nothing to keep


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to.

    Attributes:
        address: of its head, `host:port`.
        is_ours: it was started for this run and ends with it.
        dashboard: where Ray's pages are, `host:port`; empty if it has none.
        mark: what this process labels the nodes with that it starts for itself.
    """

    address: str
    is_ours: bool
    dashboard: str = ""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def num_cpus(self, source: DataSource) -> int:
        """The CPUs of all servers that may work on this data; boards do not count."""
        return sum(slots(source).values())

    def num_gpus(self, source: DataSource) -> int:
        """Their GPUs, those that have a CPU beside them."""
        return sum(slots(source, 1.0).values())

    def node_for(self, target: Target, site: str | None = None) -> dict[str, str] | None:
        """The labels of a living node that stands for a target, a board rather than an emulation.

        A node that another run has started for itself is none: it ends with that run.

        Args:
            target: the target.
            site: where images must stay: a node of another is none, but for those that this
                process has started here.

        Returns:
            None if there is none.
        """
        nodes = [
            node for node in ray.nodes() if node["Alive"] and self._may_use(node["Labels"], site)
        ]
        return next((dict(node["Labels"]) for node in _standing_for(target, nodes)), None)

    def is_own(self, labels: Mapping[str, str]) -> bool:
        """Whether this process has started the node with these labels, on this machine."""
        return labels.get(TEMPORARY_LABEL) == self.mark

    def evidence_of(self, target: Target, site: str | None = None) -> Evidence | None:
        """What a node's leg would prove of a target; None: none stands for it, see `node_for`."""
        labels = self.node_for(target, site)
        if labels is None:
            return None
        return "isa" if is_emulated(labels) else "device"

    def lost_node_of(self, target: Target, site: str | None = None) -> LostNode | None:
        """The last node that stood for a target and has left the cluster; None if none has.

        Those that runs started for themselves have ended, and are not lost; nor are those of
        another site, where images must stay at one.
        """
        nodes = [
            node
            for node in ray.nodes()
            if not node["Alive"]
            and TEMPORARY_LABEL not in node["Labels"]
            and _is_of(node["Labels"], site)
        ]
        return next((_lost(node) for node in reversed(_standing_for(target, nodes))), None)

    def address_of(self, node_id: str) -> str:
        """The address of a node, alive or not; empty if the cluster does not know it."""
        found = (node for node in ray.nodes() if node["NodeID"] == node_id)
        return next((str(node["NodeManagerAddress"]) for node in found), "")

    def loss_of(self, node_id: str) -> LostNode | None:
        """Why a node has left the cluster; None if it has not."""
        found = (node for node in ray.nodes() if node["NodeID"] == node_id and not node["Alive"])
        return next(map(_lost, found), None)

    def _may_use(self, labels: Mapping[str, str], site: str | None) -> bool:
        if TEMPORARY_LABEL in labels:
            return self.is_own(labels)
        return _is_of(labels, site)


@dataclass(frozen=True)
class LostNode:
    """A node that has left the cluster: its address, and what the head says of it."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"its node {self.address} has left the cluster ({self.reason})"


def _is_of(labels: Mapping[str, str], site: str | None) -> bool:
    return site in (None, site_of(labels))


def _standing_for(target: Target, nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the nodes that stand for a target; if boards do, not those that emulate it."""
    boards = {TARGET_LABEL: target.label, EMULATED_LABEL: "false"}
    emulations = {TARGET_LABEL: target.name, EMULATED_LABEL: "true"}
    for wanted in (boards, emulations):
        found = [
            node
            for node in nodes
            if wanted.items() <= ({EMULATED_LABEL: "false"} | node["Labels"]).items()
        ]
        if found:
            return found
    return []


def _lost(node: Mapping[str, Any]) -> LostNode:
    said = " ".join(str(node.get("DeathReasonMessage") or "").split())
    return LostNode(str(node["NodeManagerAddress"]), said or "without a word")


@contextlib.contextmanager
def connected(address: str | None, num_workers: int, dashboard: bool = False) -> Iterator[Cluster]:
    """Joins the cluster at `address`, or starts one here; see `sigdca.distributed.connect`."""
    options: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "num_cpus": max(os.cpu_count() or 1, num_workers),
            "include_dashboard": dashboard,
            "labels": {SITE_LABEL: "private"},
        }
    else:
        check_head(address)
    try:
        context = ray.init(address or "local", **options)
    except Exception as error:  # Ray raises many kinds: no server, wrong token, other version
        where = f"cluster {address or 'on this machine'}"
        raise SigdcaError(f"{where}: {_why_not_joined(error)}") from error
    try:
        pages = context.dashboard_url or ""
        yield Cluster(ray.get_runtime_context().gcs_address, address is None, pages)
    finally:
        ray.shutdown()


def _why_not_joined(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if "InvalidAuthToken" in str(cause):
            return REFUSED
        cause = cause.__cause__ or cause.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def quieten_ray_data() -> None:
    """Ray Data shows its own progress and plans unless it is told not to."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def is_emulated(labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels emulates its target."""
    return labels.get(EMULATED_LABEL) == "true"


def selector(labels: Mapping[str, str]) -> dict[str, str]:
    """Chooses the nodes that stand for the same target in the same way."""
    emulated = "true" if is_emulated(labels) else "!true"
    return {TARGET_LABEL: labels[TARGET_LABEL], EMULATED_LABEL: emulated}


@contextlib.contextmanager
def emulating_nodes(
    cluster: Cluster, targets: Sequence[Target], num_cpus: int
) -> Iterator[dict[str, str]]:
    """More Ray nodes on this machine, whose labels say that each emulates a target.

    Args:
        cluster: the cluster to join.
        targets: one node each.
        num_cpus: what each node offers.

    Yields:
        Why a target's node did not come up, by its name; empty if all did.
    """
    processes: dict[str, subprocess.Popen[bytes]] = {}
    failed: dict[str, str] = {}
    # Nodes that start at the same time in one folder take each other's sockets.
    folder = tempfile.mkdtemp(prefix="sigdca-ray-", dir=SOCKET_FOLDER)
    try:
        for number, target in enumerate(targets):
            place = f"{folder}/{number}"
            processes[target.name] = _start_node(cluster, target.name, num_cpus, place)
        deadline = time.monotonic() + NODE_START_TIMEOUT_S
        for target in targets:
            why = _not_up(cluster, target, processes[target.name], deadline)
            if why is not None:
                failed[target.name] = f"target '{target.name}': its emulating node {why}"
        yield failed
    finally:
        _end_groups(list(processes.values()))
        shutil.rmtree(folder, ignore_errors=True)


def _start_node(
    cluster: Cluster, target: str, num_cpus: int, folder: str
) -> subprocess.Popen[bytes]:
    labels = {SITE_LABEL: "edge", TARGET_LABEL: target, EMULATED_LABEL: "true"}
    labels |= {TEMPORARY_LABEL: cluster.mark}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += ["--address", cluster.address, "--num-cpus", str(num_cpus)]
    command += ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())]
    command += ["--disable-usage-stats", "--temp-dir", folder]
    command += ["--include-log-monitor", "false"]  # nobody reads along
    # The one that Ray chooses is the head's: a node would ask for it for seconds.
    command += ["--dashboard-agent-listen-port", "0"]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:  # the node must not outlive a driver that is killed
        command = [setpriv, "--pdeathsig", "TERM", *command]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _not_up(
    cluster: Cluster, target: Target, process: subprocess.Popen[bytes], deadline: float
) -> str | None:
    """Waits for a node; says why it did not come up."""
    while not _has_started(cluster, target):
        if process.poll() is not None:
            return f"ended with status {process.returncode}"
        if time.monotonic() > deadline:
            return f"did not join within {NODE_START_TIMEOUT_S:.0f} s"
        time.sleep(0.1)
    return None


def _has_started(cluster: Cluster, target: Target) -> bool:
    """Whether this process's own emulation is there; a board of the target may be there too."""
    return any(
        node["Alive"]
        and cluster.is_own(node["Labels"])
        and node["Labels"].get(TARGET_LABEL) == target.name
        for node in ray.nodes()
    )


def _end_groups(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends the nodes and all their processes: each node's are one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + NODE_STOP_TIMEOUT_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.wait()
