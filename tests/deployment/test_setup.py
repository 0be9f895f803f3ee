"""Makefile, scripts/ and toolchains: what they do where something is missing and cannot be had."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, lacks

TOOLS = ("cut", "dirname", "find", "rm", "sh", "uname")
FOREIGN = "aarch64-a57" if platform.machine() == "x86_64" else "x86-64-v2-goldmont"
GOLDMONT = ROOT / "sigdca/native/toolchains/x86-64-v2-goldmont.cmake"


@pytest.fixture
def bare(tmp_path):
    """Runs a command where there are no compilers, no browser and no apt-get."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool))

    def run(program, *words, at=ROOT):
        found = shutil.which(
            program, path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin"
        )
        return subprocess.run(
            [found, *words],
            cwd=at,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_what_tests_need_may_be_missing(bare):
    done = bare("make", "compilers", "browser")
    assert done.returncode == 0, done.stderr
    for said in (f"compiler for {FOREIGN}", "clang with libFuzzer", "pkg-config", "chromium"):
        assert f"== no {said}: " in done.stdout


@pytest.fixture
def place(tmp_path):
    """The sources, with a `dist/` and a `bin/` of its own."""
    made = tmp_path / "place"
    for name in ("dist", "bin"):
        (made / name).mkdir(parents=True)
    for name in ("Makefile", "scripts", "sigdca"):
        (made / name).symlink_to(ROOT / name)
    return made


def test_a_package_without_its_compiler_is_skipped_and_no_older_one_stays(bare, place):
    older, other = (
        place / f"dist/sigdca-native-0.1.0-{target}.tar.gz" for target in (FOREIGN, "riscv64")
    )
    older.touch()
    other.touch()
    words = ("--old-file=setup", "native-targets", f"NATIVE_TARGETS={FOREIGN}")
    done = bare("make", *words, at=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"\n== no compiler for {FOREIGN}: skipped\n")
    assert "clang" not in done.stdout + done.stderr  # packages need none
    assert (older.exists(), other.exists()) == (False, True)


def test_no_older_program_for_aarch64_stays_where_none_can_be_built(bare, place):
    older = place / "bin/dca-run-aarch64"
    older.touch()
    os.utime(older, (0, 0))
    words = ("--old-file=.venv/.installed", "native-programs", "AARCH64_RUN=bin/dca-run-aarch64")
    done = bare("make", *words, at=place)
    assert done.returncode == 0, done.stderr
    assert "== no dca-run for aarch64: " in done.stdout
    assert not older.exists()


def test_a_release_is_told_which_packages_belong_to_it(bare):
    done = bare("make", "--dry-run", "dist", "NATIVE_TARGETS=this that")
    assert done.stdout.endswith("/python scripts/release.py this that\n"), done.stderr


@pytest.mark.parametrize(("machine", "code"), [("x86_64", 0), ("aarch64", 1)])
def test_a_machines_own_compiler_builds_for_its_own_kind_alone(bare, tmp_path, machine, code):
    for name in ("gcc", "g++"):
        (tmp_path / name).symlink_to(shutil.which("true"))
    done = bare("cmake", f"-DCMAKE_HOST_SYSTEM_PROCESSOR={machine}", "-P", GOLDMONT)
    assert done.returncode == code, done.stderr
    assert ("x86_64-linux-gnu-gcc" in done.stderr) is (code == 1)


def test_a_test_without_its_tool_is_skipped_but_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        lacks("this")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception):
        lacks("this")


@pytest.mark.parametrize("tool", ["chromium", "clang", "mosquitto", "pkg-config", "qemu"])
def test_what_make_test_installs_is_skipped_by_lacks_alone(tool):
    skips = re.compile(rf"(skipif|pytest\.skip)\([^\n]*{tool}")
    files = (ROOT / "tests").rglob("*.py")
    assert [path.name for path in files if skips.search(path.read_text())] == []


def test_ci_lets_no_test_be_skipped_for_want_of_a_tool(bare, tmp_path):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "CI=$CI make $*"\n')
    make.chmod(0o755)
    done = bare("bash", ".ci/run")
    assert (done.stdout, done.returncode) == ("CI=true make test\n", 0), done.stderr
