"""Limits of a leg: what holds is seen from inside, what does not is said."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sigdca.edge import cgroups, launch
from sigdca.edge.confine import confine
from sigdca.edge.legs import run_test_leg
from sigdca.edge.processes import RunnerError, run_processes
from sigdca.edge.runners import Told
from sigdca.job.limits import Limits
from sigdca.targets import load_target

IMAGES = np.zeros((4, 1, 2, 2), np.uint8)
LABELS = np.zeros(4, np.int64)
MIB = 2**20


class Toy:
    """A runner that does what it is told, and tells what it may use."""

    model_name = "model"

    def __init__(self, body: str = "") -> None:
        self.body = body

    def environment(self):
        return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def test(self, model, folder, *, emulated):
        code = (
            "import json, os, resource, numpy as np\n"
            f"{self.body}\n"
            "n = len(np.load('images.npy'))\n"
            "np.save('logits.npy', np.zeros((n, 3), np.float32))\n"
            "print(json.dumps([sorted(os.sched_getaffinity(0)),"
            " resource.getrlimit(resource.RLIMIT_AS)[0]]))"
        )
        return [sys.executable, "-c", code]

    def told(self, folder):
        return Told("toy", (folder / "stdout").read_text())

    def bench(self, model):
        return None

    def latency_us(self, folder):
        raise NotImplementedError


def run(limits: Limits, body: str = "", num_processes: int = 2):
    return run_processes(Toy(body), b"", IMAGES, LABELS, None, num_processes, 60.0, limits)


@pytest.fixture
def no_cgroups(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "none")


def test_cores_are_seen_from_inside():
    first = min(os.sched_getaffinity(0))
    outcome = run(Limits(cores=1))
    assert json.loads(outcome.runtime)[0] == [first]
    assert outcome.limits == (f"cores: 1 (CPU {first}, by affinity)",)


def test_more_cores_than_there_are_is_said(no_cgroups):
    outcome = run(Limits(cores=4096))
    here = len(os.sched_getaffinity(0))
    (said,) = outcome.limits
    assert said == f"cores: not enforced: 4096 asked for, this machine has {here}"


def test_without_limits_nothing_is_said():
    assert run(Limits()).limits == ()


def test_without_cgroups_memory_is_a_limit_of_addresses(no_cgroups):
    outcome = run(Limits(memory_bytes=4096 * MIB))
    assert json.loads(outcome.runtime)[1] == 4096 * MIB
    assert outcome.limits == (f"memory: at most {4096 * MIB} bytes of addresses (RLIMIT_AS)",)


def test_what_no_cgroup_enforces_is_said(no_cgroups):
    outcome = run(Limits(clock_share=0.5))
    (said,) = outcome.limits
    assert said.startswith("clock share 0.5: not enforced: no cgroup can be made here")
    with confine(Limits(memory_bytes=MIB), emulated=True) as confined:
        assert confined.options == []
        (said,) = confined.said
    assert said.startswith(f"memory {MIB} bytes: not enforced: no cgroup can be made here")


def test_out_of_memory_names_the_limit(no_cgroups):
    with pytest.raises(RunnerError) as caught:
        run(Limits(memory_bytes=1024 * MIB), "x = bytearray(2 << 30)")
    message = str(caught.value)
    assert "MemoryError; out of memory under the limits: memory: at most 1073741824" in message


def test_another_fault_is_not_called_out_of_memory(no_cgroups):
    with pytest.raises(RunnerError) as caught:
        run(Limits(memory_bytes=4096 * MIB), "raise SystemExit('no luck')")
    assert "no luck; under the limits: memory: at most" in str(caught.value)


def can_limit(controller: str) -> bool:
    try:
        cgroups.make_group(controller, f"sigdca-try-{os.getpid()}").remove()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_limit("memory"), reason="no cgroup of memory can be made here")
def test_a_cgroup_ends_what_takes_more_memory_and_is_gone_afterwards():
    with pytest.raises(RunnerError) as caught:
        run(Limits(memory_bytes=64 * MIB), "x = bytearray(b'1') * (200 << 20)")
    assert "died of SIGKILL; out of memory under the limits: memory: at most" in str(caught.value)
    assert not list(cgroups.ROOT.rglob("sigdca-leg-*"))
    assert run(Limits(memory_bytes=512 * MIB)).limits[0].startswith("memory: at most 536870912")


@pytest.mark.skipif(not can_limit("cpu"), reason="no cgroup of CPU time can be made here")
def test_a_quota_of_time_holds():
    burn = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    timed = f"import time\nstart = time.monotonic()\n{burn}\nassert time.monotonic() - start > 0.9"
    outcome = run(Limits(cores=1, clock_share=0.25), timed)
    assert outcome.limits[1].startswith("clock share: 0.25 of 1 CPUs' time (cgroup v")


@pytest.fixture
def version_2(monkeypatch, tmp_path):
    """A tree of version 2; a folder's children have the controllers that it is told to give."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    monkeypatch.setattr(cgroups, "ROOT", root)
    monkeypatch.setattr(cgroups, "OWN", own)
    monkeypatch.setattr(cgroups, "_GONE_AFTER_S", 0)
    (root / "user.slice/leg").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory")
    own.write_text("0::/user.slice/leg\n")
    files = {"memory": ("memory.max", "memory.swap.max", "memory.events"), "cpu": ("cpu.max",)}
    gives = {}
    made = Path.mkdir

    def mkdir(self, *arguments, **options):
        made(self, *arguments, **options)
        (self / "cgroup.procs").touch()
        for controller in gives.get(str(self.parent.relative_to(root)), ()):
            for name in files[controller]:
                (self / name).write_text("max")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    return root, gives


def test_version_2_is_written_as_the_kernel_wants_it(version_2):
    root, gives = version_2
    gives["user.slice"] = ("memory", "cpu")  # the processes' own group may have no children
    memory = cgroups.make_group("memory", "m")
    assert (memory.folder, memory.version) == (root / "user.slice/m", 2)
    memory.limit_memory(MIB)
    assert (memory.folder / "memory.max").read_text() == str(MIB)
    assert (memory.folder / "memory.swap.max").read_text() == "0"
    (memory.folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    assert memory.num_killed() == 1
    cpu = cgroups.make_group("cpu", "c")
    cpu.limit_cpu(0.5, 2)
    assert (cpu.folder / "cpu.max").read_text() == "100000 100000"


def test_version_2_has_one_group_for_both_limits(version_2):
    root, gives = version_2
    gives |= {"user.slice": ("cpu",), ".": ("cpu", "memory")}
    with confine(Limits(clock_share=0.5, memory_bytes=MIB), emulated=False) as confined:
        (joined,) = confined.options
        group = Path(joined.removeprefix("--join=")).parent
        assert group.parent == root
        assert (group / "cpu.max").read_text().endswith(" 100000")
        assert (group / "memory.max").read_text() == str(MIB)
        assert [line.partition(" (cgroup v2")[1] for line in confined.said] == [" (cgroup v2"] * 2
        assert confined.memory is confined.clock


@pytest.mark.parametrize("emulated", [False, True])
def test_version_2_without_memory_in_its_group(version_2, emulated):
    root, gives = version_2
    gives |= {"user.slice": ("cpu",), ".": ("memory",)}
    with confine(Limits(clock_share=0.5, memory_bytes=MIB), emulated=emulated) as confined:
        joined, *others = confined.options
        assert joined.startswith(f"--join={root}/user.slice/sigdca-leg-")
        assert others == ([] if emulated else [f"--memory={MIB}"])
        _, memory = confined.said
    if emulated:
        assert memory.startswith(f"memory {MIB} bytes: not enforced: ")
        assert "is not given the controller memory" in memory
    else:
        assert memory == f"memory: at most {MIB} bytes of addresses (RLIMIT_AS)"


def test_the_launcher_refuses_a_limit_that_cannot_be_set(tmp_path):
    line = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
    line += [f"--join={tmp_path}/none/cgroup.procs", "/bin/true"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("limits: cannot be set: ")


def test_a_job_goes_before_its_target():
    job, target = Limits(cores=1), Limits(cores=4, memory_bytes=MIB)
    assert job.over(target) == Limits(cores=1, memory_bytes=MIB)


def test_a_leg_that_runs_out_of_memory_is_device_required(case, tmp_path, no_cgroups):
    board = tmp_path / "board"
    board.write_text("this very machine")
    target = load_target("atom-x5-e3940")
    changes = {"machine": platform.machine(), "file": str(board), "pattern": "very"}
    device = target.device.model_copy(update=changes)
    small = Limits(memory_bytes=1 * MIB)
    here = target.model_copy(update={"device": device, "emulator": None, "limits": small})
    options = {"reference_logits": case.reference, "emulated": False}
    result = run_test_leg(here, case.model, case.images, case.labels, **options)
    assert result.verdict == "device-required"
    assert "under the limits: memory: at most 1048576 bytes of addresses" in result.reason
    enough = Limits(memory_bytes=512 * MIB)
    result = run_test_leg(here, case.model, case.images, case.labels, limits=enough, **options)
    assert result.verdict == "exact", result.reason
    assert result.limits == (f"memory: at most {512 * MIB} bytes of addresses (RLIMIT_AS)",)
