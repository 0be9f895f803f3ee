"""`ray up cluster/private.yaml`: Ray's launcher, by ssh, on hosts of a lab."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from sigdca.distributed import labels
from tests.cluster.lab import HOSTS, Lab, why_not
from tests.conftest import ROOT
from tests.deployment.units import tls

SSHD = "/usr/sbin/sshd"
HOME = str(Path("~root").expanduser())
SERVER = """
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
"""
LOOK = """
import json, ray
ray.init(address="auto", logging_level="error")
print(json.dumps([[n["NodeManagerAddress"], n["Labels"]] for n in ray.nodes() if n["Alive"]]))
"""


def why_no_launcher():
    """Why there can be no such lab here, or an empty text."""
    missing = [name for name in (SSHD, "ssh", "rsync") if shutil.which(name) is None]
    return why_not() or (f"{missing[0]} is not installed" if missing else "")


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_no_launcher()), reason=why_no_launcher() or "-"),
]


class Hosts(Lab):
    """Hosts with an ssh server and a home each; `three` is where somebody types `ray up`."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sgl-", dir="/tmp"))
        self.keys = self.folder / "keys"
        self.keys.mkdir()
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.keys / name)]
            subprocess.run(command, check=True)
        self.addresses = [f"{self._net}.{number}" for number in range(1, 4)]

    def home(self, host):
        """What was written into `~` there; what else it shows is this machine's."""
        return self.folder / host / "home"

    def run(self, script, cwd=None, timeout=300):
        """Runs a shell's script on `three`; gives what it printed."""
        environment = {"HOME": HOME, "PATH": os.environ["PATH"]}
        process = self.popen(
            "three",
            *self._alone("three", ["sh", "-c", script]),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
        )
        told, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, told
        return told

    def ssh(self, address, script):
        """Runs a shell's script on a host that has been set up, as somebody would."""
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        words = f"ssh {options} -i {self.keys}/user root@{address}"
        set_up = f". ~/sigdca-cluster/secrets/env.sh; {script}"
        return self.run(f"{words} {shlex.quote(set_up)}")

    def has_node(self, host):
        """Whether a node of Ray runs there."""
        names = [Path(f"/proc/{pid}/comm") for pid in self._pids(host)]
        return any(name.exists() and name.read_text() == "raylet\n" for name in names)

    def monitor(self):
        """What the head says of the workers that it starts."""
        logs = sorted(self.folder.glob("head/ray/session_2*/logs/monitor*"))
        return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in logs)

    def wait_for_nodes(self, seconds=90):
        """An ssh server is there at once."""

    def _start_node(self, host, *_):
        config = self.folder / f"{host}.conf"
        config.write_text(SERVER.format(keys=self.keys))
        server = [SSHD, "-D", "-e", "-f", str(config)]
        with (self.folder / f"{host}.log").open("w") as log:
            command = self._alone(host, server)
            self._nodes[host] = self.popen(host, *command, stdout=log, stderr=log)

    def _alone(self, host, words):
        """The words of a command with processes, a `/tmp/ray` and a home of this host's own.

        `ray stop`, which the launcher begins with, ends all of Ray that it sees.
        """
        place = self.folder / host
        for name in ("home", "work", "ray"):
            (place / name).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={HOME},upperdir={place}/home,workdir={place}/work"
        mounts = (
            f"mount -t overlay overlay -o {layers} {HOME} && mount --bind {place}/ray /tmp/ray"
        )
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        first = f'mkdir -p /tmp/ray /run/sshd; {mounts} && exec "$@"'
        return [*alone, "sh", "-c", first, "sh", *words]


@pytest.fixture
def hosts():
    made = Hosts()
    with made.running():
        yield made
    shutil.rmtree(made.folder, ignore_errors=True)


def laid_out(hosts, place):
    """What docs/own-cluster.md has somebody make before `ray up`."""
    (place / "dist/wheels").mkdir(parents=True)
    (place / "dist/wheels/one.whl").touch()
    (place / "secrets").mkdir()
    shutil.copy(ROOT / "cluster/env.sh", place / "secrets")
    (place / "secrets/token").touch(mode=0o600)
    (place / "secrets/token").write_text(secrets.token_hex(32))
    tls("ca", place / "secrets/tls")
    for address in hosts.addresses:
        tls("node", place / "secrets/tls", address)
    config = yaml.safe_load((ROOT / "cluster/private.yaml").read_text())
    head, *workers = hosts.addresses
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.keys / "user")}
    # Wheels into a new environment are test_packages' matter: this one has been made already.
    first, venv, pip = config["setup_commands"]
    assert " -m venv ~/sigdca-cluster/venv" in venv
    assert "--no-index" in pip
    config["setup_commands"] = [first, f"ln -sfn {Path(sys.prefix)} ~/sigdca-cluster/venv"]
    (place / "private.yaml").write_text(yaml.safe_dump(config))


def nodes_of(hosts):
    told = hosts.ssh(hosts.addresses[0], f"python -c {shlex.quote(LOOK)}")
    (line,) = [line for line in told.splitlines() if line.startswith("[[")]
    return dict(json.loads(line))


def test_ray_up_brings_up_the_private_cluster(hosts, tmp_path):
    laid_out(hosts, tmp_path)
    ray = f"{sys.executable} -m ray.scripts.scripts"
    hosts.run(f"{ray} up private.yaml --yes --no-config-cache", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(found := nodes_of(hosts)) < len(hosts.addresses):
        assert time.monotonic() < deadline, hosts.monitor()
        time.sleep(2)
    assert set(found) == set(hosts.addresses)
    told = [
        (found[address][labels.SITE_LABEL], found[address].get(labels.PRICE_LABEL))
        for address in hosts.addresses
    ]
    assert told == [("private", None), ("private", "0.01"), ("private", "0.01")]
    for host in HOSTS[:3]:
        sent = hosts.home(host) / "sigdca-cluster/secrets"
        assert (sent / "token").stat().st_mode & 0o077 == 0
        assert (sent / "tls/ca.crt").exists()
        assert not (sent / "tls/ca.key").exists(), "who has it makes nodes"
    with pytest.raises(AssertionError, match="Failed to connect"):
        hosts.ssh(
            hosts.addresses[1],
            f"RAY_USE_TLS=0 ray health-check --address {hosts.addresses[0]}:6379",
        )
    assert all(map(hosts.has_node, HOSTS[:3]))
    hosts.run(f"{ray} exec private.yaml '~/sigdca-cluster/venv/bin/ray stop'", cwd=tmp_path)
    deadline = time.monotonic() + 200
    while left := list(filter(hosts.has_node, HOSTS[:3])):  # servers end when their head is gone
        assert time.monotonic() < deadline, left
        time.sleep(1)
