"""Two boards, the emulated Atom and TX2 CPU, on hosts of their own, and ways to lose one."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sigdca.targets import find_emulator
from tests.cluster.lab import Lab
from tests.conftest import ROOT, emulated

BOARDS = {"two": "atom-x5-e3940", "three": "jetson-tx2-cpu"}
FAULTS = ("killed", "frozen", "cut off")
MOMENTS = ("retraining", "between iterations", "before its leg", "its leg runs")
JOB = """
name: boards
model: lenet-300-100
data: {source: mnist, limit: 2000}
train: {workers: 1, epochs: 1, batch_size: 50, learning_rate: 0.1}
compress:
  iterations: 2
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 1, schedule: one-shot}
    - encode
budget: {container_bytes: 1000}
targets: [atom-x5-e3940, jetson-tx2-cpu]
"""
# In the emulator's place: says that a leg runs on this host, and waits while it is held.
EMULATOR = """#!/bin/sh
case " $* " in *" test "*)
  echo leg >> {legs}/$(hostname)
  while [ -e {legs}/hold ]; do sleep 0.1; done
esac
exec {program} "$@"
"""
BUDGET_MISSED = 1  # that is how every one of these runs ends: two iterations are wanted


@dataclass(frozen=True)
class Ran:
    """A run's end: the command's exit code, what it said, its folder; the seconds since a loss."""

    code: int
    told: str
    folder: Path
    seconds: float = 0.0

    @property
    def records(self):
        """The ledger, in order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("ledger/*.json"))]

    @property
    def legs(self):
        """The last word on each target."""
        return {r["label"]: r["metrics"] for r in self.records if r["stage"] == "edge-test"}

    @property
    def container(self):
        """What the run ended with."""
        return (self.folder / "model.dca").read_bytes()


class BoardsLab(Lab):
    """`head` is the driver's, `one` a server; `two` and `three` join by `sigdca edge join`."""

    def __init__(self, **options):
        """See `Lab`."""
        targets = [emulated(name) for name in BOARDS.values()]
        # A busy machine: three answers of 3 s may be missed, and a start may take its time.
        super().__init__(RAY_health_check_timeout_ms="3000", **options)
        patient = {"RAY_NUM_REDIS_GET_RETRIES": "20", "RAY_raylet_start_wait_time_s": "40"}
        self._legs = self._folder / "legs"
        programs = self._folder / "bin"
        for folder in (self._legs, programs):
            folder.mkdir()
        for target in targets:
            path = find_emulator(target).path
            program = programs / target.emulator.program
            program.write_text(EMULATOR.format(legs=self._legs, program=path))
            program.chmod(0o755)
        self._environment |= patient | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, folder, *options, at=None, then=lambda: None, leg_of=None):
        """Runs the loop from the head.

        Args:
            folder: holds the run, `boards`.
            options: more words of the command.
            at: a line of the driver's, as a pattern, at which `then` is called.
            then: called once.
            leg_of: a host; `then` is called only when a leg runs there, and holds till then.
        """
        job = Path(folder) / "boards.yaml"
        job.write_text(f"{JOB}storage: {folder}\n")
        command = [sys.executable, "-m", "sigdca", "run", str(job), "--address", self.address]
        hold = self._legs / "hold"
        self.forget_legs()
        if leg_of is not None:
            hold.touch()
        lost = time.monotonic()
        said = []
        with self.popen(
            "head",
            *(*command, "--json", *options),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as driver:
            for line in driver.stderr:
                said.append(line)
                if at is not None and re.match(at, line):
                    at = None
                    if leg_of is not None:
                        self._wait_for_leg(leg_of)
                    then()
                    hold.unlink(missing_ok=True)
                    lost = time.monotonic()
        told = "".join(said)
        assert at is None, told
        return Ran(driver.returncode, told, Path(folder) / "boards", time.monotonic() - lost)

    def forget_legs(self):
        """Legs are counted anew; none is held."""
        for path in self._legs.iterdir():
            path.unlink()

    def num_legs(self, host):
        """How many legs have begun on a host since then."""
        path = self._legs / host
        return len(path.read_text().splitlines()) if path.exists() else 0

    def lose(self, host, fault):
        """Loses a board in one of the ways of `FAULTS`."""
        {"killed": self.kill, "frozen": self.freeze, "cut off": self.cut}[fault](host)

    def bring_back(self, host, fault):
        """The board is well again; its node ends by itself, and its supervisor starts another.

        A node that ends by itself has been told that the head counts it as lost.
        """
        if fault == "frozen":
            self.thaw(host)
        if fault == "cut off":
            self.heal(host)
        self.wait_until_left(host)
        self.start_again(host)

    def lose_at(self, moment, fault, host, folder, whole):
        """Runs the loop, and loses a board at one of the `MOMENTS`.

        Args:
            moment: which.
            fault: which of `FAULTS`.
            host: the board's.
            folder: an empty one.
            whole: a run that has come to its end; this one begins just before the moment.
        """
        begins, at, leg_of = {
            "retraining": (("retrain", 2), r"RETRAIN prune #2 \.", None),
            "between iterations": (("package", 1), r"PACKAGE #1:", None),
            # The legs of all targets begin when the first of them is named.
            "before its leg": (("edge-test", 2), r"EDGE-TEST .* #2 \.", None),
            "its leg runs": (("edge-test", 2), r"EDGE-TEST .* #2 \.", host),
        }[moment]
        copy = Path(folder) / "boards"
        shutil.copytree(whole.folder, copy)
        stages = [(record["stage"], record["iteration"]) for record in whole.records]
        for path in sorted(copy.glob("ledger/*.json"))[stages.index(begins) :]:
            path.unlink()
        lose = partial(self.lose, host, fault)
        return self.run(folder, "--resume", at=at, leg_of=leg_of, then=lose)

    def wrong(self, ran, whole, lost=None, moment=""):
        """What is not as it should be after a run, against one that lost no board; a line each.

        Args:
            ran: the run.
            whole: the other.
            lost: the host that was lost at `moment`.
            moment: which of `MOMENTS`.
        """
        found = []
        if ran.code != BUDGET_MISSED:
            found.append(f"exit code {ran.code}: {ran.told[-500:]}")
        if ran.container != whole.container:
            found.append("another container")
        for host, target in BOARDS.items():
            leg = ran.legs.get(target, {"verdict": "none", "reason": "", "node": None})
            by_board = leg["verdict"] == "exact" and leg["node"] == self.address_of(host)
            named = self.address_of(host) in leg["reason"]
            emulated_here = leg["verdict"] == "exact" and leg["node"] == self.address_of("head")
            if host != lost:
                right = by_board or (lost is None and named and emulated_here)
            elif moment == "its leg runs":
                right = named and leg["verdict"] == "device-required"
            elif moment in ("retraining", "before its leg"):  # does the head know of the loss yet?
                right = named and (leg["verdict"] == "device-required" or emulated_here)
            else:
                right = named and emulated_here
            if not right:
                found.append(f"{target}: {leg['verdict']} on {leg['node']}: {leg['reason']}")
        return found

    def _after_failed_start(self, host):
        assert host in BOARDS, (self._folder / f"{host}.log").read_text()
        self.kill(host)
        self._join(host)
        return self._nodes[host]

    def _wait_for_leg(self, host, seconds=120):
        deadline = time.monotonic() + seconds
        while not (self._legs / host).exists():
            assert time.monotonic() < deadline, f"no leg on {host}"
            time.sleep(0.05)

    def _start_node(self, host, *options):
        """One after the other: a busy machine that starts several starts none in time."""
        if host in BOARDS:
            self._join(host)
        else:
            super()._start_node(host, *options)
        self.wait_for_nodes(400)

    def _join(self, host):
        words = [sys.executable, "-m", "sigdca", "edge", "join", "--address", self.address]
        words += ["--target", BOARDS[host], "--emulated", "--num-cpus", "1"]
        words += ["--node-ip", self.address_of(host)]
        # Hosts of one machine share their /tmp, where a node takes the head's folder for its own.
        place = self._folder / host
        place.mkdir(exist_ok=True)
        own = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"']
        own += [str(place), str(self._folder / "head")]
        with (self._folder / f"{host}.log").open("w") as file:
            self._nodes[host] = self.popen(
                host, *own, *words, stdout=file, stderr=file, cwd=ROOT, env=self._environment
            )
