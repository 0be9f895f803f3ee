"""Builds programs that check kernels one by one, under ASan and UBSan."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[3] / "sigdca/native"
SOURCES = NATIVE / "src"
OPTIONS = (
    *("-std=c++17", "-O1", "-g", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"),
    *("-ffp-contract=off", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *(f"-I{SOURCES}", f"-I{NATIVE / 'include'}"),
)


def flags_of(name: str) -> list[str]:
    """What CMakeLists.txt sets for an instruction set's files."""
    text = (NATIVE / "CMakeLists.txt").read_text()
    found = re.search(rf"set\({name}_flags ([^)]*)\)", text)
    assert found is not None, name
    words = found[1].split("#")[0].split()
    if words[0].startswith("${"):
        words[:1] = flags_of(words[0][2:].removesuffix("_flags}"))
    return words


Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build() -> Build:
    """`build(folder, check, everywhere, by_isa, *options)`.

    The program of `check`, a file beside this one, with these files of the library: `everywhere`
    by patterns in its sources, `by_isa` by names in its kernels.
    """
    return _build


def _build(
    folder: Path, check: str, everywhere: Sequence[str], by_isa: Sequence[str], *options: str
) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: make compilers")

    def run(*command: object) -> None:
        done = subprocess.run([compiler, *OPTIONS, *map(str, command)], capture_output=True)
        assert done.returncode == 0, done.stderr[-6000:]

    objects = []
    for name in by_isa:
        isa, file = name.split("/")
        vnni = flags_of("vnni") if file.endswith("_vnni.cc") else []
        objects.append(folder / f"{isa}_{file}.o")
        if not objects[-1].exists():
            run(*flags_of(isa), *vnni, "-c", SOURCES / "kernels" / name, "-o", objects[-1])
    program = folder / Path(check).stem
    sources = [path for pattern in everywhere for path in sorted(SOURCES.glob(pattern))]
    sources.append(Path(__file__).with_name(check))
    run(*options, *sources, *objects, "-o", program, "-lm", "-lpthread")
    return program
