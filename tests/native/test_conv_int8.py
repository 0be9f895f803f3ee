"""The convolutions with 8-bit and with split numbers against plain sums, under ASan and UBSan."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "sigdca/native"
SOURCES = NATIVE / "src"
OPTIONS = (
    *("-std=c++17", "-O1", "-g", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"),
    *("-ffp-contract=off", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *(f"-I{SOURCES}", f"-I{NATIVE / 'include'}"),
)
EVERYWHERE = (
    *("core/context.cc", "core/cpu.cc", "core/team.cc"),
    *("kernels/simd/conv_int8.cc", "kernels/simd/conv_int8_winograd.cc"),
    "kernels/simd/conv_split.cc",
)
BY_ISA = (
    *("sse42/conv_int8.cc", "avx2/conv_int8.cc", "avx512/conv_int8.cc"),
    *("avx512/conv_int8_vnni.cc", "amx/conv_int8.cc", "amx/conv_bf16.cc"),
)
NUM_LAYERS = "60"

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


def flags_of(name: str) -> list[str]:
    """What CMakeLists.txt sets for an instruction set's files."""
    text = (NATIVE / "CMakeLists.txt").read_text()
    found = re.search(rf"set\({name}_flags ([^)]*)\)", text)
    assert found is not None, name
    words = found[1].split()
    if words[0].startswith("${"):
        words[:1] = flags_of(words[0][2:].removesuffix("_flags}"))
    return words


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks."""
    folder = tmp_path_factory.mktemp("conv_int8")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: make compilers")

    def run(*command: object) -> None:
        done = subprocess.run([compiler, *OPTIONS, *map(str, command)], capture_output=True)
        assert done.returncode == 0, done.stderr[-6000:]

    objects = []
    for name in BY_ISA:
        isa, file = name.split("/")
        vnni = flags_of("vnni") if file.endswith("_vnni.cc") else []
        objects.append(folder / f"{isa}_{file}.o")
        run(*flags_of(isa), *vnni, "-c", SOURCES / "kernels" / name, "-o", objects[-1])
    program = folder / "check"
    sources = [SOURCES / name for name in EVERYWHERE]
    sources += [Path(__file__).with_name("conv_int8_check.cc")]
    run(*sources, *objects, "-o", program, "-lm", "-lpthread")
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
