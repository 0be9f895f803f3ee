"""What several test folders share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from sigdca.targets import Target

ROOT = Path(__file__).resolve().parent.parent

# A job small enough for a test: 1,500 images, three short stages.
SMALL_JOB = """
name: small
model: lenet-300-100
data: {source: mnist, limit: 1500}
train: {workers: 2, epochs: 3, batch_size: 50, learning_rate: 0.1}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8, ip3: 0.5}, epochs: 3, learning_rate: 0.05}
    - share: {bits: 4, epochs: 2}
    - encode
targets: [atom-x5-e3940, jetson-tx2-cpu, jetson-tx2]
edge_test: {num_samples: 100}
"""

Sigdca = Callable[..., "subprocess.CompletedProcess[str]"]


def lacks(why: str) -> NoReturn:
    """Skips a test for want of a tool that `make test` installs; in CI the test fails."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def emulated(target: Target | str) -> Target:
    """A target, or that of a name, which can be emulated here.

    What is not installed is lacking; what is installed and does not work is an error.
    """
    from sigdca.native.programs import find_program, missing_program
    from sigdca.targets import check_emulator, find_emulator, load_target
    from sigdca.targets.emulate import _which

    found = load_target(target) if isinstance(target, str) else target
    emulator, machine = check_emulator(found).program, found.device.machine
    if _which(emulator) is None:
        lacks(f"{emulator} is not installed: make emulators")
    if found.engine == "native" and find_program(machine) is None:
        lacks(missing_program(machine))
    find_emulator(found)
    return found


@pytest.fixture
def small_job(tmp_path: Path) -> Path:
    """A job file, and a folder that `--set storage=` may name."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL_JOB + f"storage: {tmp_path / 'runs'}\n")
    return path


@pytest.fixture
def sigdca() -> Sigdca:
    """Runs the `sigdca` command as a user does."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sigdca", *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
        )

    return run


@pytest.fixture
def sigdca_here(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sigdca]:
    """The same in this process: it saves seconds of imports where a verb ends at once."""
    from sigdca.cli import main

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = list(map(str, arguments))
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as ended:
            main(words)
        told = capfd.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int), code
        return subprocess.CompletedProcess(words, code or 0, told.out, told.err)

    kept = dict(os.environ)
    yield run
    os.environ.clear()  # a verb may prepare it for what it starts
    os.environ.update(kept)
