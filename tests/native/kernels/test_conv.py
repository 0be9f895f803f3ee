"""The float32 convolutions, all of them, against plain loops, under ASan and UBSan."""

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EVERYWHERE = ("core/context.cc", "core/cpu.cc", "core/team.cc", "kernels/simd/conv_*.cc")
BY_ISA = {
    "sse42": ("sse42/conv.cc", "sse42/conv_int8.cc"),
    "avx2": ("avx2/conv.cc", "avx2/conv_int8.cc"),
    "avx512": ("avx512/conv.cc", "avx512/conv_int8.cc", "avx512/conv_int8_vnni.cc"),
}

Build = Callable[..., Path]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs are built."""
    return tmp_path_factory.mktemp("conv")


@pytest.mark.parametrize("isa", BY_ISA)
def test_every_kernel_gives_the_plain_sums(build: Build, folder: Path, isa: str) -> None:
    check = build(folder, "conv_check.cc", EVERYWHERE, BY_ISA[isa], f"-DCHECK_ISA={isa}")
    done = subprocess.run([check, "120", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert re.fullmatch(r"[1-9]\d* runs, 0 wrong\n", done.stdout), done.stdout
