"""The claims of the search: what an hour finds, what it costs, what it survives.

`python benchmarks/search.py [--quick] [--json]`, as root, for the lab. --quick takes the claims of
overhead, cores and repeatability on small studies, and those of the lab, which `--lab` takes
alone; the whole takes some 30 hours on two cores: an
hour's search of each LeNet, five seeds, against random search and against plain TPE (no scan, no
seeds, full fidelity alone), all interleaved by seed. `--fronts` runs these alone, with `--quick`
for ten minutes each (LeNet-5: thirty); it can be stopped, and goes on where it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from claims import Claim, at_least, at_most, main
from search_fronts import ended_study, front_claims
from search_lab import check_lab, lab_claims

from sigdca.search import StudyFolder
from sigdca.storage import open_store

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / ".cache" / "search"
HOUR_S = {"lenet-300-100": 3600, "lenet-5": 3600}
QUICK_S = {"lenet-300-100": 600, "lenet-5": 1800}  # TRAIN of LeNet-5 alone takes 5 minutes
NUM_ROUNDS = 3  # of both sides in turn
SEEDS = range(5)

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


def trials_of(study: Path) -> list[tuple[Any, ...]]:
    """What must be equal in two studies of one seed."""
    return [
        (trial.number, trial.point, trial.status, [rung.container for rung in trial.rungs])
        for trial in StudyFolder(open_store(str(study))).trials()
    ]


def repeatable(job: Path, folder: Path) -> Claim:
    """Two searches of one job with one worker and one seed."""
    settings = ("search.max_concurrent=1", "data.limit=1500", "search.sensitivity_images=500")
    one = trials_of(ended_study(job, folder, "one", *settings))
    other = trials_of(ended_study(job, folder, "other", *settings))
    different = sum(a != b for a, b in zip(one, other, strict=True))
    return at_most("one worker, one seed: trials that differ", [different], 0, "trials")


def busy(job: Path, folder: Path, budget_s: int) -> Claim:
    """How much of all cores' time was worked in a study, its start, TRAIN and scan included."""
    with CpuClock() as clock:
        study = ended_study(
            job, folder, "busy", "search.num_trials=null", f"search.time_budget_s={budget_s}"
        )
    outcome = StudyFolder(open_store(str(study))).study()
    assert outcome is not None
    ended = (study / "study.json").stat().st_mtime  # it is written when all is over
    share = clock.share(ended - outcome.elapsed_s, ended)
    return at_least("cores at work in a study", [100 * share], 95, "%")


class CpuClock:
    """Looks twice a second how much time this machine's processors have worked, for anyone."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int, int]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> CpuClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def share(self, start: float, end: float) -> float:
        """Of all processors' time between two moments, in seconds since 1970."""
        (_, idle, total), *_, (_, idle_then, total_then) = [
            seen for seen in self._seen if start <= seen[0] <= end
        ]
        return 1 - (idle_then - idle) / (total_then - total)

    def _look(self) -> None:
        while not self._ends.wait(0.5):
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
            ticks = [int(field) for field in fields]  # proc(5): idle and iowait are 3 and 4
            self._seen.append((time.time(), ticks[3] + ticks[4], sum(ticks)))


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
    check_lab()
    with tempfile.TemporaryDirectory(prefix="sigdca-search-") as place:
        folder = Path(place)
        job = folder / "small.yaml"
        job.write_text(yaml.safe_dump(yaml.safe_load(SMALL)))
        claims = overhead(300, 300) if quick else overhead(1000, 10_000)
        claims.append(repeatable(job, folder))
        claims.append(busy(job, folder, 60 if quick else 600))
    claims += measure_lab(quick)
    return claims if quick else claims + measure_fronts(quick)


def measure_lab(quick: bool) -> list[Claim]:
    """Only what a study survives, and what data that is bound does not do."""
    return lab_claims()


def measure_fronts(quick: bool) -> list[Claim]:
    """Only what searches find (30 hours; quick: 10), going on where it was stopped."""
    return front_claims(STUDIES, QUICK_S if quick else HOUR_S, SEEDS)


if __name__ == "__main__":
    main(__doc__, measure, fronts=measure_fronts, lab=measure_lab)
