"""kill -9 and a full disk at every point of an update: always one version, whole and verified."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sigdca.edge.update import Device, Health, set_up

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
WELL = Health(uptime_s=61, met=1000, late=0, dropped=0)
INSTALL = """
import sys
from pathlib import Path
from sigdca.edge.self_test import self_test
from sigdca.edge.update import Device
print("ready", flush=True)
sys.stdin.readline()
Device(Path(sys.argv[1]), prove=self_test).install(Path(sys.argv[2]).read_bytes())
"""


def python(*arguments: object, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, **options)


@pytest.mark.parametrize("mode", ["kill", "full"])
def test_at_every_point(tmp_path, settings, bundle, mode):
    set_up(tmp_path, settings)
    for version in (1, 2):
        (tmp_path / f"{version}.dcu").write_bytes(bundle(version))
    process = python(HERE / "crash_points.py", tmp_path, mode, stdout=subprocess.PIPE)
    told, _ = process.communicate(timeout=100)
    points = [json.loads(line) for line in told.splitlines()]
    assert process.returncode == 0
    assert len(points) > 8
    assert {point["live"] for point in points} == {1, 2}, "old or new, at every point"
    assert points[0]["live"] == 1
    assert points[-1] == {"point": len(points) - 1, "ended": True, "live": 2, "again": True}
    assert all(point["again"] is True for point in points), "what was left is in nobody's way"


def test_killed_at_random(tmp_path, settings, bundle):
    """The moment is anybody's guess; the file size limit stands for a full disk."""
    rng = random.Random(1)
    root = tmp_path / "device"
    set_up(root, settings).install(bundle(1))
    outcomes, good = set(), 1
    for version in range(2, 17):
        path = tmp_path / "next.dcu"
        path.write_bytes(bundle(version))
        before = Device(root).live().manifest.version
        if rng.random() < 0.3:
            good = before
            Device(root).report(before, WELL)
        full = rng.random() < 0.3
        process = python(
            *("-c", INSTALL, root, path),
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL},
            preexec_fn=_small_files if full else None,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        if not full:
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        live = Device(root).start().manifest.version
        assert live in (good, before, version), "the good one, that on trial, or the new one"
        outcomes.add(live == version)
    assert Device(root).start().manifest.version >= 1
    assert False in outcomes, "not one of the updates was cut off"


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
