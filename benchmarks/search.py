"""The claims of the search: what an hour finds, what it costs, and that it is repeatable.

`python benchmarks/search.py [--quick] [--json]`. --quick takes the claims of overhead, cores and
repeatability on small studies; the whole takes some 30 hours on two cores: an
hour's search of each LeNet, five seeds, against random search and against plain TPE (no scan, no
seeds, full fidelity alone), all interleaved by seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from claims import Claim, at_least, at_most, main

from sigdca.report.published import published
from sigdca.search import FrontRecord, StudyFolder, hypervolume
from sigdca.storage import open_store

ROOT = Path(__file__).resolve().parent.parent
HOUR_S = 3600
NUM_ROUNDS = 3  # of both sides in turn
SEEDS = range(5)
RANDOM = ("search.sampler=random", "search.sensitivity_images=0", "search.fidelities=[1.0]")
PLAIN_TPE = ("search.sensitivity_images=0", "search.fidelities=[1.0]")

SMALL = """
name: small
model: lenet-300-100
data: {source: mnist, limit: 10000}
train: {epochs: 2, batch_size: 50, learning_rate: 0.1}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 6, learning_rate: 0.05}
    - share: {bits: 4, epochs: 2}
    - encode
search:
  space:
    compress.recipe.0.prune.sparsity.ip1: {uniform: [0.7, 0.99]}
    compress.recipe.1.share.bits: {int: [2, 6]}
  num_trials: 6
budget: {error: 100}
"""


def search(job: Path, folder: Path, name: str, *settings: str) -> Path:
    """Runs a search by the command; gives the study's folder."""
    options = [f"name={name}", f"storage={folder}", *settings]
    command = [sys.executable, "-m", "sigdca", "search", str(job), "--json"]
    for option in options:
        command += ["--set", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return folder / name


def front_of(study: Path) -> list[tuple[float, float]]:
    """Error and bytes of a study's front."""
    front = FrontRecord.model_validate_json((study / "front.json").read_text())
    full = [trial.full for trial in front.trials]
    return [(f.figures["error"], f.figures["container_bytes"]) for f in full if f is not None]


def smallest(front: list[tuple[float, float]], error: float) -> float:
    """The fewest bytes at an error; infinite if no point has it."""
    return min((size for at, size in front if at <= error + 1e-9), default=float("inf"))


def volume(front: list[tuple[float, float]], own: tuple[float, float]) -> float:
    """Of the box up to twice the job's own recipe."""
    reference = (2 * own[0], 2 * own[1])
    scaled = [(error / reference[0], size / reference[1]) for error, size in front]
    return hypervolume(scaled, (1.0, 1.0))


def hours(folder: Path) -> list[Claim]:
    """What an hour finds."""
    claims = []
    for network in ("lenet-300-100", "lenet-5"):
        job = ROOT / "jobs" / f"{network}-mnist-search.yaml"
        ratios, wins, against_random, against_tpe = [], [], [], []
        for seed in SEEDS:
            fixed = (f"seed={seed}", f"search.time_budget_s={HOUR_S}")
            ours = search(job, folder, f"{network}-{seed}", *fixed)
            other = search(job, folder, f"{network}-{seed}-random", *fixed, *RANDOM)
            plain = search(job, folder, f"{network}-{seed}-tpe", *fixed, *PLAIN_TPE)
            own = own_of(ours)
            front = front_of(ours)
            ratios.append(own[1] / smallest(front, own[0]))
            error = published(network, "mnist")[0].error
            wins.append(float(smallest(front, error) < smallest(front_of(other), error)))
            against_random.append(volume(front, own) / volume(front_of(other), own))
            against_tpe.append(volume(front, own) / volume(front_of(plain), own))
        claims += [
            at_least(f"{network}: hand recipe's bytes / front's, equal error", ratios, 1.5, "x"),
            at_least(
                f"{network}: fewer bytes than random search at the published error",
                [sum(wins)],
                len(SEEDS),
                "seeds",
                "a random search of the same time",
            ),
            at_least(f"{network}: hypervolume / random's", against_random, 1.3, "x", "random"),
            at_least(f"{network}: hypervolume / plain TPE's", against_tpe, 1.0, "x", "plain TPE"),
        ]
    return claims


def own_of(study: Path) -> tuple[float, float]:
    """Error and bytes of the job's own recipe."""
    figures = json.loads((study / "trials" / "0001.json").read_text())["rungs"][-1]["figures"]
    return figures["error"], figures["container_bytes"]


def trials_of(study: Path) -> list[tuple[Any, ...]]:
    """What must be equal in two studies of one seed."""
    return [
        (trial.number, trial.point, trial.status, [rung.container for rung in trial.rungs])
        for trial in StudyFolder(open_store(str(study))).trials()
    ]


def repeatable(job: Path, folder: Path) -> Claim:
    """Two searches of one job with one worker and one seed."""
    settings = ("search.max_concurrent=1", "data.limit=1500", "search.sensitivity_images=500")
    one = trials_of(search(job, folder, "one", *settings))
    other = trials_of(search(job, folder, "other", *settings))
    different = sum(a != b for a, b in zip(one, other, strict=True))
    return at_most("one worker, one seed: trials that differ", [different], 0, "trials")


def busy(job: Path, folder: Path, budget_s: int) -> Claim:
    """How much of all cores' time trials were at work, from the first trial to the end."""
    study = search(
        job, folder, "busy", "search.num_trials=null", f"search.time_budget_s={budget_s}"
    )
    trials = [t for t in StudyFolder(open_store(str(study))).trials() if t.ended is not None]
    start = min(trial.started for trial in trials)
    ended = [t for t in trials if t.status in ("done", "pruned")]
    end = max(trial.ended or 0.0 for trial in ended)
    used = sum(trial.duration_s for trial in ended)
    share = used / ((os.cpu_count() or 1) * (end - start))
    return at_least("cores at work in a study", [100 * share], 95, "%")


def noop(side: str, num_trials: int) -> dict[str, float]:
    """Trials that do nothing, in a process of their own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "search_noop.py"), side]
    done = subprocess.run(
        [*command, str(num_trials)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def overhead(num_trials: int, most: int) -> list[Claim]:
    """No-op trials a second, and what the driver keeps of the most of them."""
    ratios = []
    for _ in range(NUM_ROUNDS):
        mine, theirs = noop("search", num_trials), noop("tune", num_trials)
        ratios.append(mine["trials_per_s"] / theirs["trials_per_s"])
    if most > num_trials:
        mine, theirs = noop("search", most), noop("tune", most)
    return [
        at_least("no-op trials a second / plain Tune's", ratios, 0.5, "x", "Ray Tune, Optuna"),
        at_most(
            f"driver's memory after {most:,} trials",
            [mine["peak_mb"]],
            1000,
            "MB",
            f"plain Tune: {theirs['peak_mb']:.0f} MB",
        ),
    ]


def measure(quick: bool) -> list[Claim]:
    """All claims."""
    with tempfile.TemporaryDirectory(prefix="sigdca-search-") as place:
        folder = Path(place)
        job = folder / "small.yaml"
        job.write_text(yaml.safe_dump(yaml.safe_load(SMALL)))
        claims = overhead(300, 300) if quick else overhead(1000, 10_000)
        claims.append(repeatable(job, folder))
        claims.append(busy(job, folder, 60 if quick else 600))
        if not quick:
            claims += hours(folder)
    return claims


if __name__ == "__main__":
    main(__doc__, measure)
