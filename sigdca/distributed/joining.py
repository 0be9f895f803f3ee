"""How a board becomes a node of a cluster. Ray is started, not imported: a board is slow."""

from __future__ import annotations

import importlib.util
import os
import sys

from sigdca.distributed.environment import be_quick_to_join, prepare_client
from sigdca.distributed.labels import EMULATED_LABEL, SITE_LABEL, TARGET_LABEL
from sigdca.distributed.preflight import check_head, check_token
from sigdca.errors import JobError
from sigdca.targets import Target, find_emulator

# The ports of every node, for firewalls; cluster/*.service and docs/own-cluster.md say the same.
PORTS = {
    "node-manager-port": 6380,
    "object-manager-port": 6381,
    "runtime-env-agent-port": 6382,
    "dashboard-agent-grpc-port": 6383,
    "metrics-export-port": 6384,
    "dashboard-agent-listen-port": 52365,
    "min-worker-port": 10002,
    "max-worker-port": 10999,
}


def check_join(address: str) -> None:
    """Looks at all that can be wrong before Ray is started.

    Raises:
        JobError: the address is no `host:port`, there is no Ray, or no token is named.
        SigdcaError: no head answers, TLS fails, or the token is refused.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        raise JobError(f"--address {address}: must be the head's host:port, such as head:6379")
    if importlib.util.find_spec("ray") is None:
        raise JobError("Ray is not installed on this board: pip install 'sigdca[join]'")
    prepare_client()
    file = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not file and not os.environ.get("RAY_AUTH_TOKEN"):
        raise JobError("RAY_AUTH_TOKEN_PATH: is not set; it names the file with the head's token")
    if file and not os.access(file, os.R_OK):
        raise JobError(f"RAY_AUTH_TOKEN_PATH: {file}: cannot be read")
    check_head(address)
    check_token(address)
    be_quick_to_join()


def board_command(
    address: str,
    target: Target,
    *,
    emulated: bool,
    num_cpus: int,
    node_ip: str | None,
    fixed_ports: bool,
) -> list[str]:
    """The command that starts the node and stays in the foreground.

    Args:
        address: of the head, `host:port`.
        target: what the node stands for.
        emulated: this machine emulates it, rather than being one.
        num_cpus: what the node offers.
        node_ip: by which of its addresses others reach it; None: Ray finds one.
        fixed_ports: those of `PORTS`, rather than free ones.

    Raises:
        TargetError: this machine is to stand for a target that it cannot emulate.
    """
    if emulated:
        find_emulator(target)
    labels = {
        SITE_LABEL: "edge",
        TARGET_LABEL: target.name if emulated else target.label,
        EMULATED_LABEL: str(emulated).lower(),
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += ["--address", address, "--num-cpus", str(num_cpus), "--disable-usage-stats"]
    command += ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())]
    command += ["--node-ip-address", node_ip] if node_ip else []
    if fixed_ports:
        command += [f"--{name}={port}" for name, port in PORTS.items()]
    return command
