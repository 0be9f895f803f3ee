"""A lab whose nodes are started as the units of cluster/ start them, with token and TLS."""

import os
import platform
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.lab import Lab
from tests.conftest import ROOT

UNITS = {
    "head": "sigdca-head.service",
    "one": "sigdca-server.service",
    "two": "sigdca-board.service",
}
PROGRAMS = {
    "/opt/sigdca/bin/ray": [sys.executable, "-m", "ray.scripts.scripts"],
    "/opt/sigdca/bin/sigdca": [sys.executable, "-m", "sigdca"],
}
THIS_MACHINE = f"""
name = "this-machine"
description = "whatever runs the tests"
engine = "native"
[sources]
here = {{ text = "nobody has measured it", checked = false }}
[device]
machine = "{platform.machine()}"
file = "/proc/cpuinfo"
pattern = "processor"
[[cpu]]
model = "any"
cores = {{ value = 1, source = "here" }}
clock_mhz = {{ value = 1000, source = "here" }}
l1i_bytes = {{ value = 32768, source = "here" }}
l1d_bytes = {{ value = 32768, source = "here" }}
l2_bytes = {{ value = 1048576, source = "here" }}
l2_shared_by = {{ value = 1, source = "here" }}
isa = ["sse4.2"]
isa_source = "here"
[memory]
max_bytes = {{ value = 1073741824, source = "here" }}
"""


def settings(text):
    """The variables of an environment file."""
    pairs = re.findall(r"^([A-Za-z_]+)=(.*)$", text, re.M)
    return dict(pairs)


def started_by(unit, environment):
    """The words of a unit's ExecStart, with its variables in them."""
    text = (ROOT / "cluster" / unit).read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    return [
        re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word)
        for word in shlex.split(line)
    ]


def tls(*words):
    done = subprocess.run(
        [str(ROOT / "cluster/tls.sh"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Units(Lab):
    """`head`, a server on `one`, a board on `two`; `three` has no node yet."""

    def __init__(self):
        super().__init__()
        self.units = dict(UNITS)
        self.folder = Path(tempfile.mkdtemp(prefix="sgu-", dir="/tmp"))
        self.target = self.folder / "this-machine.toml"
        self.target.write_text(THIS_MACHINE)
        self.certificates = self.folder / "tls"
        tls("ca", self.certificates)
        for number in range(1, 5):
            tls("node", self.certificates, f"{self._net}.{number}")

    def environment(self, host, **changes):
        """What cluster.env says on a host, with this lab's addresses and files."""
        number = ("head", "one", "two", "three").index(host) + 1
        address = f"{self._net}.{number}"
        ours = {
            "SIGDCA_HEAD": self.address,
            "SIGDCA_NODE_IP": address,
            "SIGDCA_TARGET": str(self.target),
            "RAY_AUTH_TOKEN_PATH": self._environment["RAY_AUTH_TOKEN_PATH"],
            "RAY_TLS_CA_CERT": str(self.certificates / "ca.crt"),
            "RAY_TLS_SERVER_CERT": str(self.certificates / f"{address}.crt"),
            "RAY_TLS_SERVER_KEY": str(self.certificates / f"{address}.key"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "SIGDCA_CACHE": os.environ.get(
                "SIGDCA_CACHE",
                str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sigdca"),
            ),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        given = settings((ROOT / "cluster/cluster.env").read_text())
        patient = {name: "10000" for name in given if name.endswith("_ms")}  # it is a busy machine
        return kept | given | patient | ours | changes

    def run(self, host, *words, timeout=120, cwd=None, **changes):
        """Runs a command on a host, and gives what it said."""
        process = self.popen(
            host,
            *self._with_own_files(host, words),
            env=self.environment(host, **changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        output, told = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(words, process.returncode, output, told)

    def add_server(self):
        """A second server, on `three`."""
        self.units["three"] = UNITS["one"]
        self._start_node("three")
        self.wait_for_nodes()

    def power_cut(self):
        """Every node ends at once; systemd starts each again (Restart=always)."""
        for host in self.units:
            self.kill(host)
            self._nodes.pop(host).wait()
        for host in self.units:
            self._start_node(host)
        self.wait_for_nodes()

    def join(self, host, **changes):
        """`sigdca edge join` on a host, which is expected to fail."""
        words = started_by("sigdca-board.service", self.environment(host))
        return self.run(host, *PROGRAMS[words[0]], *words[1:], **changes)

    def another_token(self):
        """A file with a token that nobody knows."""
        path = self.folder / "another-token"
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
        return str(path)

    def another_authority(self):
        """A certificate of an authority that the head does not know."""
        folder = self.folder / "other"
        tls("ca", folder)
        tls("node", folder, "10.0.0.9")
        return {
            "RAY_TLS_CA_CERT": str(folder / "ca.crt"),
            "RAY_TLS_SERVER_CERT": str(folder / "10.0.0.9.crt"),
            "RAY_TLS_SERVER_KEY": str(folder / "10.0.0.9.key"),
        }

    def expired(self):
        """A certificate of the right authority, whose time is over."""
        tls("node", self.certificates, "10.0.0.8", -1)
        return {
            "RAY_TLS_SERVER_CERT": str(self.certificates / "10.0.0.8.crt"),
            "RAY_TLS_SERVER_KEY": str(self.certificates / "10.0.0.8.key"),
        }

    def _start_node(self, host, *_):
        if host not in self.units:
            return
        words = started_by(self.units[host], self.environment(host))
        command = self._with_own_files(host, [*PROGRAMS[words[0]], *words[1:]])
        log = self._folder / f"{host}.log"
        with log.open("w") as file:
            environment = self.environment(host)
            environment.pop("RAY_TMPDIR", None)
            self._nodes[host] = self.popen(
                host, *command, stdout=file, stderr=file, env=environment
            )
        if host == "head":
            self.wait_for_nodes()

    def _with_own_files(self, host, words):
        """The words of a command that sees the files of its own host's node where Ray has them."""
        place = self._folder / host
        place.mkdir(exist_ok=True)
        bound = 'mkdir -p /tmp/ray; mount --bind "$0" /tmp/ray && exec "$@"'
        return ["sh", "-c", bound, str(place), *words]
