"""The claims of the whole loop: size at an error, time, resume, repeatability, errors.

Whole-file bytes and test error on MNIST's 10,000 images, one run of `sigdca run` per seed; bounds
are Deep Compression's figures (arXiv 1510.00149, tables 1, 3 and 4).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from claims import Claim, at_least, at_most, main

ROOT = Path(__file__).resolve().parent.parent
SIGDCA = [sys.executable, "-m", "sigdca"]
SEEDS = range(5)
CAFFE_SEEDS = range(1)  # the starting weights are given
CAFFE_MODELS = Path(os.environ.get("SIGDCA_CAFFE_MODELS", "no-caffe-models"))
SUBSET = [
    *("--set", "data.limit=1000", "--set", "budget={}"),
    *("--set", "train.epochs=3", "--set", "train.accuracy_at_least=null"),
    *("--set", "compress.recipe.0.prune.epochs=3", "--set", "compress.recipe.1.share.epochs=2"),
]
# The driver is killed when it announces these, then resumed.
STAGES = ["TRAIN", "RETRAIN prune", "RETRAIN share", "RETEST encode", "EDGE-TEST atom-x5-e3940"]


def run_job(job: str, folder: Path, *settings: str) -> tuple[dict[str, Any], float]:
    """Runs a job in a folder of its own; gives its report and the seconds."""
    command = [*SIGDCA, "run", job, "--json", "--set", f"storage={folder}", *settings]
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    report = json.loads(done.stdout)
    best = report["best"]
    figures = f"{best['container_bytes']} bytes, {best['error']:.2f} %, {seconds:.0f} s"
    print(f"{job} {' '.join(settings)}: {figures}", file=sys.stderr, flush=True)
    return report, seconds


def size_at_error(
    job: str,
    title: str,
    max_bytes: int,
    max_error: float,
    max_s: float,
    seeds: range,
    against: str,
) -> list[Claim]:
    """Bytes, error and time of a job over seeds."""
    sizes, errors, times = [], [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            report, seconds = run_job(job, Path(folder), "--set", f"seed={seed}")
        sizes.append(report["best"]["container_bytes"])
        errors.append(report["best"]["error"])
        times.append(seconds)
    return [
        at_most(f"{title}: container", sizes, max_bytes, "bytes", against),
        at_most(f"{title}: test error", errors, max_error, "%", against),
        at_most(f"{title}: whole loop", times, max_s, "s"),
    ]


def container_of(folder: Path) -> bytes:
    """The best container of the one run in the folder."""
    (path,) = folder.glob("*/model.dca")
    return path.read_bytes()


def kill_and_resume(job: str, stage: str, folder: Path) -> bytes:
    """Starts a job, kills its driver with SIGKILL when `stage` begins, resumes it to its end."""
    command = [*SIGDCA, "run", job, "--set", f"storage={folder}", *SUBSET, "--resume"]
    driver = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert driver.stderr is not None
    for line in driver.stderr:
        if line.startswith(stage) and line.rstrip().endswith("..."):
            break
    else:
        raise SystemExit(f"{stage}: the run never came to it")
    if "TRAIN" in stage:
        driver.stderr.readline()  # into the stage: its first epoch
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver.stderr.close()
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        return b""
    # PACKAGE may have written the container before: what came after must be there as well.
    verdicts = [target["verdict"] for target in json.loads(done.stdout)["targets"]]
    return container_of(folder) if "exact" in verdicts else b""


def same_bytes(job: str, stages: list[str]) -> list[Claim]:
    """Two undisturbed runs, and runs killed at several stages, against the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = []
        for number in range(2):
            run_job(job, folder / f"run{number}", *SUBSET)
            runs.append(container_of(folder / f"run{number}"))
        resumed = []
        for number, stage in enumerate(stages):
            resumed.append(kill_and_resume(job, stage, folder / f"kill{number}") == runs[0])
            print(f"killed in {stage}: same bytes {resumed[-1]}", file=sys.stderr)
    return [
        at_least("two runs of one job: identical containers", [runs[0] == runs[1]], 1, "share"),
        at_least(
            f"SIGKILL in {len(stages)} stages, --resume: identical containers",
            [sum(resumed) / len(resumed)],
            1,
            "share",
        ),
    ]


def bad_input() -> Claim:
    """Every kind of bad input: exit code 2 and one line."""
    job = "jobs/lenet-5-mnist.yaml"
    commands = [
        ["run", job, "--set", "sede=1"],
        ["run", job, "--set", "compress.recipe.0.prune.sparsity.ip1=1.5"],
        ["run", job, "--set", "compress.recipe.0.prune.sparsity.ip9=0.5"],
        ["run", job, "--set", "model=lenet-6"],
        ["run", job, "--set", "targets=[atom-x5]"],
        ["run", "jobs/none.yaml"],
    ]
    other = CAFFE_MODELS / "dns_caffe_lenet300100_original.caffemodel"
    if other.is_file():
        commands.append(["run", job, "--set", f"weights={other}"])
    with tempfile.TemporaryDirectory() as name:
        container = (ROOT / "tests/golden/v1/sparse-fillers.dca").read_bytes()
        for at in range(0, len(container), max(1, len(container) // 16)):
            flipped = container[:at] + bytes([container[at] ^ 0x10]) + container[at + 1 :]
            for kind, content in {"flipped": flipped, "truncated": container[:at]}.items():
                path = Path(name) / f"{kind}-{at}.dca"
                path.write_bytes(content)
                commands.append(["decode", str(path), "--to", "npz", "-o", f"{name}/out.npz"])
        good = [_is_one_line(command) for command in commands]
    return at_least(
        f"bad input, {len(commands)} kinds: exit code 2 and one line",
        [sum(good) / len(good)],
        1,
        "share",
    )


def _is_one_line(command: list[str]) -> bool:
    done = subprocess.run(
        [*SIGDCA, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    fine = done.returncode == 2 and done.stderr.count("\n") == 1
    if not fine:
        print(f"{command}: exit code {done.returncode}\n{done.stderr}", file=sys.stderr)
    return fine


def measure(quick: bool) -> list[Claim]:
    """All claims; with `quick` one seed of the small network, one kill."""
    paper = "bytes: Deep Compression; error: its network before"
    seeds = SEEDS[:1] if quick else SEEDS
    small = "jobs/lenet-300-100-mnist.yaml"
    claims = size_at_error(small, "LeNet-300-100", 27_000, 1.64, 480, seeds, paper)
    if not quick:
        large = "jobs/lenet-5-mnist.yaml"
        claims += size_at_error(large, "LeNet-5", 44_000, 0.80, 2400, seeds, paper)
        claims += from_caffe(CAFFE_SEEDS)
    claims += same_bytes(small, STAGES[1:2] if quick else STAGES)
    claims.append(bad_input())
    return claims


def from_caffe(seeds: range) -> list[Claim]:
    """The same from published Caffe weights, where they are (SIGDCA_CAFFE_MODELS)."""
    if not CAFFE_MODELS.is_dir():
        print("no Caffe models (SIGDCA_CAFFE_MODELS): left out", file=sys.stderr)
        return []
    claims = []
    for name, title, max_bytes, max_error in (
        ("lenet-300-100-caffe.yaml", "LeNet-300-100 from Caffe weights", 27_000, 2.28),
        ("lenet-5-caffe.yaml", "LeNet-5 from Caffe weights", 44_000, 0.91),
    ):
        text = (ROOT / "benchmarks" / name).read_text()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as job:
            job.write(text.replace("$SIGDCA_CAFFE_MODELS", str(CAFFE_MODELS)))
            job.flush()
            claims += size_at_error(
                job.name, title, max_bytes, max_error, 2400, seeds, "the Caffe model's own error"
            )
    return claims


if __name__ == "__main__":
    main(__doc__, measure)
