"""libFuzzer over the parser and over the runner, for a few seconds each; see sigdca/native/fuzz.

For longer, `SIGDCA_FUZZ_S=3600 pytest tests/native/safety/test_fuzz.py`, with --timeout=0. What it
finds lies in the folder that the failure names.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import lacks

FUZZ = Path(__file__).resolve().parents[3] / "sigdca/native/fuzz"
GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SECONDS = int(os.environ.get("SIGDCA_FUZZ_S", "10"))
LIMITS = ("-max_len=8192", "-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1")
CORPUS = (FUZZ / "corpus", GOLDEN / "v1", GOLDEN / "v2", GOLDEN / "hostile")


@pytest.fixture(scope="module")
def clang(tmp_path_factory):
    """The compiler, if it has libFuzzer."""
    probe = tmp_path_factory.mktemp("probe") / "probe.cc"
    probe.write_text(
        'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }'
    )
    compiler = shutil.which("clang++")
    if compiler is None:
        lacks("clang++ is not installed: make compilers")
    command = [compiler, "-fsanitize=fuzzer,address", probe, "-o", probe.with_suffix("")]
    if subprocess.run(command, capture_output=True).returncode != 0:
        lacks("clang++ has no libFuzzer: make compilers")
    return "clang++"


@pytest.mark.parametrize("target", ["model", "session"])
def test_no_finding(target, clang, build, tmp_path):
    program, found = tmp_path / f"fuzz_{target}", tmp_path / "new"
    sources = [FUZZ / f"fuzz_{target}.cc", FUZZ / "mutator.cc", FUZZ / "parts.cc"]
    build(clang, "fuzzer,address,undefined", sources, program)
    found.mkdir()
    limits = (f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/", *LIMITS)
    done = subprocess.run([program, *limits, found, *CORPUS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs is not None
    print(f"fuzz_{target}: {runs[1]} executions in {SECONDS} s")
    assert int(runs[1]) > 20 * SECONDS  # else it tests nothing
