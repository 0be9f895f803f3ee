"""libsigdca-codec under ASan and UBSan, and that its levels are Python's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec.arithmetic import Encoder
from sigdca.codec.levels import Limits, code_levels
from sigdca.native import NativeFormatError
from sigdca.native.coder import LevelCoder

HERE = Path(__file__).parent
SANITIZERS = "address,undefined"


@pytest.mark.parametrize("check", ["coder_check", "chunk_check"])
def test_there_and_back(check, build, tmp_path):
    program = tmp_path / check
    build("c++", SANITIZERS, [HERE / f"{check}.cc"], program)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("stride", [0, 2, 7])
@pytest.mark.parametrize(("density", "spread"), [(0.02, 1), (0.3, 3), (1.0, 2000)])
def test_writes_pythons_bytes(stride, density, spread):
    rng = np.random.default_rng(1)
    kept = rng.random((30, 70)) < density
    levels = np.where(kept, np.rint(rng.normal(0, spread, (30, 70))), 0).astype(np.int32)
    limits = Limits(max(1, -int(levels.min())), max(1, int(levels.max())))
    coder, plain = LevelCoder(), Encoder()
    assert coder.plain(5, 3) == plain.plain(5, 3) == 5
    coder.levels(levels, stride, *limits)
    code_levels(plain, levels, stride, limits, "")
    stream = coder.finish()
    assert stream == plain.finish()
    again, found = LevelCoder(stream), np.full_like(levels, 9)
    assert again.plain(0, 3) == 5
    again.levels(found, stride, *limits)
    assert again.finish() == b""
    assert np.array_equal(found, levels)


def test_an_empty_stream_is_read():
    found = np.full((3, 4), 9, np.int32)
    coder = LevelCoder(b"")
    coder.levels(found, 0, 1, 1)
    assert coder.finish() == b""


def test_errors_are_pythons():
    with pytest.raises(NativeFormatError, match="level 3 at row 0, column 1 is beyond 2"):
        LevelCoder().levels(np.array([[0, 3]], np.int32), 0, 2, 2)
    coder = LevelCoder(bytes(20) + b"\1")
    with pytest.raises(NativeFormatError, match="stream is read at byte 4, but goes on to 21"):
        coder.finish()
