"""Every allocation fails once: an error code each time, nothing lost, no crash."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
CHUNKED = ("places-codebook", "rans-gap-fillers", "rans-map")
GOLDEN = sorted((HERE.parents[1] / "golden/v1").glob("*.dca"))
GOLDEN += [HERE.parents[1] / f"golden/v2/{name}.dca" for name in CHUNKED]


def test_each_allocation_may_fail(build, tmp_path):
    program = tmp_path / "allocations"
    build("c++", "address,undefined", [HERE / "allocations.cc"], program)
    done = subprocess.run([program, *GOLDEN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Of each file, instruction set, profile and number of threads: at least the model and session.
    assert int(done.stdout) > len(GOLDEN) * 3 * 2 * 10
