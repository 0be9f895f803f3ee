"""Long fuzzing of the native library under ASan and UBSan: `python benchmarks/fuzz.py SECONDS`.

Both targets of sigdca/native/fuzz run for so long, one behind the other. What they did is written
to fuzz-results.json, which `native.py` makes claims of; what they found lies in .cache/fuzz.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE, GOLDEN = ROOT / "sigdca" / "native", ROOT / "tests" / "golden"
FOLDER = ROOT / ".cache" / "fuzz"
RESULTS = Path(__file__).with_name("fuzz-results.json")
SANITIZERS = "address,undefined"
LIMITS = ("-max_len=8192", "-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1")


def build(target: str) -> Path:
    """The fuzzer of a target, by clang."""
    library = FOLDER / "library"
    settings = {
        "CMAKE_C_COMPILER": "clang",
        "CMAKE_CXX_COMPILER": "clang++",
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O1 -g",
        "SIGDCA_SANITIZE": f"fuzzer-no-link,{SANITIZERS}",
        "SIGDCA_SHARED": "OFF",
        "SIGDCA_DCA_RUN": "OFF",
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run(["cmake", "-S", NATIVE, "-B", library, *options], check=True)
    subprocess.run(["cmake", "--build", library, "--target", "sigdca_static"], check=True)
    program = FOLDER / target
    fuzz = NATIVE / "fuzz"
    sources = [fuzz / f"fuzz_{target}.cc", fuzz / "mutator.cc", fuzz / "parts.cc"]
    command = ["clang++", "-std=c++17", "-O1", "-g", f"-fsanitize=fuzzer,{SANITIZERS}"]
    command += [f"-I{NATIVE / 'src'}", f"-I{NATIVE / 'include'}", *map(str, sources)]
    command += [str(library / "libsigdca.a"), "-lm", "-lpthread", "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def fuzz(target: str, seconds: int) -> tuple[int, int]:
    """Executions, and findings (0 or 1: the first one ends it)."""
    program, new = build(target), FOLDER / f"new-{target}"
    new.mkdir(exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-artifact_prefix={FOLDER}/", *LIMITS]
    corpus = [new, NATIVE / "fuzz" / "corpus", GOLDEN / "v1", GOLDEN / "v2", GOLDEN / "hostile"]
    log = FOLDER / f"{target}.log"
    with open(log, "w") as file:
        code = subprocess.run([program, *limits, *corpus], stderr=file, check=False).returncode
    runs = re.search(r"number_of_executed_units: (\d+)", log.read_text())
    print(f"fuzz_{target}: exit code {code}, {runs[1] if runs else '?'} executions; {log}")
    return int(runs[1]) if runs else 0, int(code != 0)


def main() -> None:
    """Fuzzes and writes the results."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3600
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = [fuzz(target, seconds) for target in ("model", "session")]
    executions, findings = map(sum, zip(*done, strict=True))
    result = {"executions": executions, "seconds": 2 * seconds, "findings": findings}
    RESULTS.write_text(json.dumps(result) + "\n")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
