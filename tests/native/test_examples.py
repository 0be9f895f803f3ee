"""The examples: each is built against an installed library, as a user does, and run."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import lacks

EXAMPLES = Path(__file__).resolve().parents[2] / "sigdca/native/examples"
HOST = "x86-64-v2-goldmont" if platform.machine() == "x86_64" else "aarch64-a57"
LINE = re.compile(r"class (\d+), logit (-?[\d.]+), [\d.]+ us\n")


def make(folder: Path, *settings: str, **environment: str) -> None:
    strict = "CFLAGS=-O2 -Wall -Wextra -Wpedantic -Werror", "CXXFLAGS=-O2 -Wall -Wextra -Werror"
    command = ["env", *(f"{key}={value}" for key, value in environment.items()), "make"]
    done = subprocess.run(
        [*command, *strict, *settings], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def copy_examples(folder: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES, folder / "examples"))


def check(command, case, images=None, number=7):
    done = subprocess.run(
        [*command, case.model, images or case.images, str(number)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    match = LINE.fullmatch(done.stdout)
    assert match, done.stdout
    reference = case.reference[number]
    assert int(match[1]) == reference.argmax()
    assert float(match[2]) == pytest.approx(reference.max(), rel=1e-3, abs=1e-5)


def refuses(command, case):
    for arguments in ((case.model, case.images, "37"), (case.images, case.images), ()):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1


def raw_and_idx(case, folder):
    raw, idx = folder / "x.raw", folder / "x.idx"
    raw.write_bytes(case.pixels.tobytes())
    sizes = np.array([37, 21, 19], ">u4").tobytes()
    idx.write_bytes(b"\0\0\x08\x03" + sizes + case.pixels.tobytes())
    return raw, idx


@pytest.fixture(scope="module")
def shared_build(native_package, tmp_path_factory):
    folder = copy_examples(tmp_path_factory.mktemp("shared"))
    make(folder, f"PREFIX={native_package(HOST)}")
    return folder


@pytest.mark.parametrize("program", ["classify-c", "classify-cpp"])
def test_against_the_shared_library(shared_build, case, program, tmp_path):
    command = [shared_build / program]
    for images in (case.images, *raw_and_idx(case, tmp_path)):
        check(command, case, images)
    check(command, case, number=0)
    refuses(command, case)


def test_by_pkg_config(native_package, case, tmp_path):
    if shutil.which("pkg-config") is None:
        lacks("pkg-config is not installed: make compilers")
    folder = copy_examples(tmp_path)
    library = native_package(HOST) / "lib"
    make(folder, PKG_CONFIG_PATH=str(library / "pkgconfig"))
    for program in ("classify-c", "classify-cpp"):
        check(["env", f"LD_LIBRARY_PATH={library}", folder / program], case)


@pytest.mark.parametrize("target", ["aarch64-a57", "x86-64-v2-goldmont"])
def test_static_for_a_target(native_package, emulator, case, target, tmp_path):
    """From the package's own examples, which its target's emulation runs."""
    package = native_package(target)
    folder = Path(shutil.copytree(package / "examples", tmp_path / "examples"))
    machine = "aarch64" if target == "aarch64-a57" else "x86_64"
    tools = (f"CC={machine}-linux-gnu-gcc", f"CXX={machine}-linux-gnu-g++")
    if machine == platform.machine():
        tools = ()
    make(folder, f"PREFIX={package}", "STATIC=1", *tools)
    for program in ("classify-c", "classify-cpp"):
        check([*emulator(target), folder / program], case)


def test_python(case, tmp_path):
    command = [sys.executable, EXAMPLES / "python/classify.py"]
    for images in (case.images, *raw_and_idx(case, tmp_path)):
        check(command, case, images)
    refuses(command, case)
