"""The fully connected kernels, all of them, against plain sums, under ASan and UBSan."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "sigdca/native"
SOURCES = NATIVE / "src"
LANGUAGE = ("-std=c++17", "-O1", "-g", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
WARNINGS = ("-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ISAS = ("sse42", "avx2", "avx512")

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


def flags(name: str) -> list[str]:
    """What CMakeLists.txt sets for an instruction set's files."""
    found = re.search(rf"set\({name}_flags ([^)]*)\)", (NATIVE / "CMakeLists.txt").read_text())
    assert found is not None, name
    return found[1].split("#")[0].split()


def compile_to(folder: Path, source: Path, *options: str) -> Path:
    made = folder / f"{source.parent.name}_{source.stem}.o"
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: make compilers")
    folders = (f"-I{SOURCES}", f"-I{NATIVE / 'include'}")
    command = [
        compiler,
        *LANGUAGE,
        *WARNINGS,
        *SANITIZERS,
        *options,
        *folders,
        "-c",
        source,
        "-o",
        made,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    return made


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks."""
    folder = tmp_path_factory.mktemp("fc")
    sources = [SOURCES / "core" / name for name in ("context.cc", "cpu.cc", "team.cc")]
    sources += sorted((SOURCES / "kernels/simd").glob("fc_*.cc"))
    sources += [Path(__file__).with_name("fc_check.cc")]
    objects = [compile_to(folder, source) for source in sources]
    for isa in ISAS:
        objects += [compile_to(folder, SOURCES / f"kernels/{isa}/fc.cc", *flags(isa))]
    vnni = SOURCES / "kernels/avx512/fc_vnni.cc"
    objects += [compile_to(folder, vnni, *flags("avx512"), *flags("vnni"))]
    program = folder / "fc_check"
    subprocess.run(["g++", *SANITIZERS, *objects, "-o", program, "-lpthread"], check=True)
    return program


@pytest.mark.parametrize("seed", range(2))
def test_every_kernel_gives_the_plain_sums(check: Path, seed: int) -> None:
    done = subprocess.run([check, str(seed), "70"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout == "70 cases\n"
