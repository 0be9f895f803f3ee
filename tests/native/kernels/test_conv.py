"""The float32 convolutions, all of them, against plain loops, under ASan and UBSan."""

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., None]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="builds x86-64's kernels")


@pytest.mark.parametrize("isa", ["sse42", "avx2", "avx512"])
def test_every_kernel_gives_the_plain_sums(build: Build, tmp_path: Path, isa: str) -> None:
    check, source = tmp_path / "check", Path(__file__).with_name("conv_check.cc")
    build("c++", "address,undefined", [source], check, f"-DCHECK_ISA={isa}")
    done = subprocess.run([check, "120", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert re.fullmatch(r"[1-9]\d* runs, 0 wrong\n", done.stdout), done.stdout
