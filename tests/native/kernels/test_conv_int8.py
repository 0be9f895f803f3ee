"""The convolutions with 8-bit and with split numbers against plain sums, under ASan and UBSan."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NUM_LAYERS = "60"

Build = Callable[..., None]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


@pytest.fixture(scope="module")
def check(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks."""
    program = tmp_path_factory.mktemp("conv_int8") / "check"
    source = Path(__file__).with_name("conv_int8_check.cc")
    build("c++", "address,undefined", [source], program)
    return program


def results(check: Path, kernel: str, seed: int, threads: int) -> str:
    """The hash of all results, which were right."""
    command = [check, kernel, str(seed), NUM_LAYERS, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    if done.stdout == "unavailable\n":
        pytest.skip(f"this processor has no {kernel}")
    return done.stdout


@pytest.mark.parametrize("kernel", ["sse42", "avx2", "avx512", "avx512-vnni", "amx"])
def test_same_results_on_every_instruction_set(check: Path, kernel: str) -> None:
    assert results(check, kernel, 1, 2) == results(check, "sse42", 1, 1)


@pytest.mark.parametrize("kernel", ["sse42-winograd", "avx2-winograd", "avx512-winograd"])
def test_winograd_same_results_on_every_instruction_set(check: Path, kernel: str) -> None:
    assert results(check, kernel, 2, 2) == results(check, "sse42-winograd", 2, 1)


def test_split_numbers(check: Path) -> None:
    assert results(check, "amx-bf16x3", 3, 1) == results(check, "amx-bf16x3", 3, 2)
