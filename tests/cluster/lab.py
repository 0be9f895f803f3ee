"""Several hosts on one machine: network namespaces on a bridge, with a Ray node in each."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from frames import Frames

HOSTS = ("head", "one", "two", "three")
PORT = 6379
# A silent node counts as lost after three of these, not after a minute.
CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def why_not():
    """Why there can be no lab here, or an empty text."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    probe = f"sgp{os.getpid() % 100000}"
    made = [
        subprocess.run(["ip", *words], capture_output=True).returncode == 0
        for words in (("netns", "add", probe), ("link", "add", probe, "type", "bridge"))
    ]
    for words in (("netns", "del", probe), ("link", "del", probe)):
        subprocess.run(["ip", *words], capture_output=True)
    return "" if all(made) else "this kernel or container has no network namespaces or bridges"


class Lab:
    """Hosts on a network; `head` has no CPU for workers, the others one each."""

    def __init__(self, labels=None, gpus=None, environment=None, more=(), bare=(), **checks):
        """Nothing is made yet.

        Args:
            labels: host -> what `ray start` takes.
            gpus: the same.
            environment: of all nodes and commands, beside this process's own.
            more: hosts beyond `HOSTS`.
            bare: hosts without a Ray node.
            checks: instead of some of ours.
        """
        self._hosts, self._bare = (*HOSTS, *more, *bare), bare
        self._labels, self._gpus = labels or {}, gpus or {}
        self._checks = CHECKS | checks
        self._mark = f"sg{os.getpid() % 100000}"
        self._net = f"10.213.{os.getpid() % 250}"
        self._folder = Path(tempfile.mkdtemp(prefix="sg-", dir="/tmp"))  # sockets need short paths
        self._nodes = {}
        token = self._folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._environment = os.environ | access | (environment or {})
        self.address = f"{self._net}.1:{PORT}"

    @contextlib.contextmanager
    def running(self, seconds=90):
        """With all of its nodes up, within so long; it is stopped behind."""
        try:
            self.start()
            self.wait_for_nodes(seconds)
            yield self
        finally:
            self.stop()

    def start(self):
        """Makes the network, then the Ray nodes."""
        _ip("link", "add", self._mark, "type", "bridge")
        _ip("addr", "add", f"{self._net}.254/24", "dev", self._mark)
        _ip("link", "set", self._mark, "up")
        addresses = [f"{self._net}.{number} {host}" for number, host in enumerate(self._hosts, 1)]
        for number, host in enumerate(self._hosts, 1):
            space = self._space(host)
            folder = Path("/etc/netns") / space
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *addresses, ""]))
            _ip("netns", "add", space)
            peer = ("type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "add", self._link(host), *peer)
            _ip("link", "set", self._link(host), "master", self._mark, "up")
            _ip("-n", space, "addr", "add", f"{self._net}.{number}/24", "dev", "eth0")
            for name in ("eth0", "lo"):
                _ip("-n", space, "link", "set", name, "up")
        self._start_node("head", "--head", "--port", str(PORT), "--num-cpus", "0")
        for host in self._hosts[1:]:
            if host not in self._bare:
                self._start_node(host, "--address", self.address, "--num-cpus", "1")

    def stop(self):
        """Ends all that runs in the hosts, and takes them away."""
        for host in self._hosts:
            self.kill(host)
            # The kernel clears a network up after its name is gone: its links would be in the way
            # of the next lab's.
            subprocess.run(["ip", "link", "del", self._link(host)], capture_output=True)
            subprocess.run(["ip", "netns", "del", self._space(host)], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / self._space(host), ignore_errors=True)
        subprocess.run(["ip", "link", "del", self._mark], capture_output=True)
        for process in self._nodes.values():
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def popen(self, host, *command, **options):
        """Starts a command on a host, which has its own name and network."""
        options = {"env": self._environment} | options
        named = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command]
        return subprocess.Popen(["ip", "netns", "exec", self._space(host), *named], **options)

    def kill(self, host):
        """Ends every process of a host at once, as a power cut does."""
        self._signal(host, signal.SIGKILL)

    def freeze(self, host):
        """Stops every process of a host, as a machine does that hangs."""
        self._signal(host, signal.SIGSTOP)

    def thaw(self, host):
        """Lets them go on."""
        self._signal(host, signal.SIGCONT)

    def cut(self, host):
        """Takes the host's link down."""
        _ip("link", "set", self._link(host), "down")

    def heal(self, host):
        """Takes it up again."""
        _ip("link", "set", self._link(host), "up")

    def frames_into(self, host):
        """What its link carries into a host; see `Frames`."""
        return Frames(self._link(host))

    def address_of(self, host):
        """A host's own address."""
        return f"{self._net}.{self._hosts.index(host) + 1}"

    def wait_until_left(self, host, seconds=90):
        """Until the node of a host has ended, whoever ended it."""
        self._nodes[host].wait(seconds)

    def start_again(self, host):
        """What a supervisor does once a node has ended."""
        self.kill(host)
        self._nodes.pop(host).wait()
        self._start_node(host, "--address", self.address, "--num-cpus", "1")
        self.wait_for_nodes()

    def wait_for_nodes(self, seconds=90):
        """Until every node has printed that it runs."""
        deadline = time.monotonic() + seconds
        for host, process in list(self._nodes.items()):
            log = self._folder / f"{host}.log"
            while "Ray runtime started" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                if process.poll() is not None:
                    process = self._after_failed_start(host)
                time.sleep(0.1)

    def _after_failed_start(self, host):
        """A supervisor would try again."""
        raise AssertionError((self._folder / f"{host}.log").read_text())

    def _start_node(self, host, *options):
        number = self._hosts.index(host) + 1
        checks = self._checks if "--head" in options else {}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        command += ["--node-ip-address", f"{self._net}.{number}", "--disable-usage-stats"]
        command += ["--temp-dir", str(self._folder / host), "--object-store-memory", "200000000"]
        command += ["--labels", self._labels[host]] if host in self._labels else []
        command += ["--num-gpus", str(self._gpus[host])] if host in self._gpus else []
        command += ["--include-dashboard", "false"] if "--head" in options else []
        log = self._folder / f"{host}.log"
        with log.open("w") as file:
            self._nodes[host] = self.popen(
                host, *command, stdout=file, stderr=file, env=self._environment | checks
            )
        if "--head" in options:
            self.wait_for_nodes()

    def _signal(self, host, number):
        for pid in self._pids(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self, host):
        command = ["ip", "netns", "pids", self._space(host)]
        done = subprocess.run(command, capture_output=True, text=True)
        return list(map(int, done.stdout.split()))

    def _space(self, host):
        return f"{self._mark}-{host}"

    def _link(self, host):
        return f"{self._mark}{self._hosts.index(host) + 1}"


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)
