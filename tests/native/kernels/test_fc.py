"""The fully connected kernels, all of them, against plain sums, under ASan and UBSan."""

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., None]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


@pytest.fixture(scope="module")
def check(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks."""
    program = tmp_path_factory.mktemp("fc") / "check"
    build("c++", "address,undefined", [Path(__file__).with_name("fc_check.cc")], program)
    return program


@pytest.mark.parametrize("seed", range(2))
def test_every_kernel_gives_the_plain_sums(check: Path, seed: int) -> None:
    done = subprocess.run([check, str(seed), "70"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout == "70 cases\n"
