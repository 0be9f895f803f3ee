"""Seconds to an accuracy on MNIST, from a cold start, by those of a plain torch script.

From the start of a process until it has ended, with the data on the disk: imports, training and
TEST, and sigdca's ledger, checkpoints and report. All sides have the same recipe and one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from claims import Claim, at_least, at_most

HERE = Path(__file__).resolve().parent
# What a start may cost more than the plain script's: imports of the job, the tracer, the ledger;
# and a Ray cluster with its workers, which is started and ended.
START_UP_S = {"local executor": 5.0, "sigdca train": 45.0}


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum 0.9, cosine annealing, no augmentation.

    Attributes:
        model: in `MODELS`.
        accuracy: percent of the test images that must be known in the end.
        epochs: as few as reach it.
        batch: images a step.
        learning_rate: of the first step.
        weight_decay: of all parameters.
    """

    model: str
    accuracy: float
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float

    def job(self, seed: int, folder: str) -> str:
        """As a job file."""
        return f"""
name: accuracy
model: {self.model}
data: {{source: mnist}}
seed: {seed}
storage: {folder}
train:
  workers: 1
  epochs: {self.epochs}
  batch_size: {self.batch}
  learning_rate: {self.learning_rate}
  weight_decay: {self.weight_decay}
  accuracy_at_least: {self.accuracy}
"""

    def options(self, seed: int) -> list[str]:
        """As the plain script's options."""
        pairs = {
            "--model": self.model,
            "--accuracy": self.accuracy,
            "--epochs": self.epochs,
            "--batch": self.batch,
            "--learning-rate": self.learning_rate,
            "--weight-decay": self.weight_decay,
            "--seed": seed,
        }
        return [str(word) for pair in pairs.items() for word in pair]


RECIPES = [
    Recipe("lenet-5", 99.1, 4, 64, 0.03, 1e-4),
    Recipe("lenet-300-100", 98.3, 12, 64, 0.05, 5e-4),
]


def seconds(recipe: Recipe, side: str, seed: int) -> tuple[float, float]:
    """How long a side takes, and the accuracy that it has in the end."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "accuracy.yaml"
        job.write_text(recipe.job(seed, f"{folder}/runs"))
        command = {
            "plain": [str(HERE / "training_plain.py"), *recipe.options(seed)],
            "local executor": [str(HERE / "training_local.py"), str(job), f"{folder}/run"],
            "sigdca train": ["-m", "sigdca", "train", str(job), "--json"],
        }[side]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        elapsed = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"{recipe.model}, {side}: {done.stderr.strip()[-400:]}")
    found = json.loads(done.stdout)
    return elapsed, float(found.get("baseline", found)["accuracy"])  # sigdca's is a whole report


def time_to_accuracy(recipes: Sequence[Recipe], rounds: int) -> list[Claim]:
    """Each side of `START_UP_S` by the plain script, in turns, a seed a round."""
    claims = []
    for recipe in recipes:
        times: dict[str, list[float]] = {name: [] for name in ["plain", *START_UP_S]}
        accuracies: dict[str, list[float]] = {name: [] for name in times}
        for seed in range(rounds):
            order = list(times) if seed % 2 else list(reversed(times))
            for side in order:
                elapsed, accuracy = seconds(recipe, side, seed)
                times[side].append(elapsed)
                accuracies[side].append(accuracy)
                line = f"{recipe.model}, {side}: {elapsed:.1f} s, {accuracy:.2f} %"
                print(line, file=sys.stderr, flush=True)
        claims += _claims(recipe, times, accuracies)
    return claims


def _claims(
    recipe: Recipe, times: dict[str, list[float]], accuracies: dict[str, list[float]]
) -> list[Claim]:
    plain = times["plain"]
    what = f"{recipe.model} to {recipe.accuracy} %"
    claims = [
        at_least(f"{what}, {side}: reached", found, recipe.accuracy, "%", "the recipe", every=True)
        for side, found in accuracies.items()
    ]
    for side, allowance_s in START_UP_S.items():
        ratios = [mine / theirs for mine, theirs in zip(times[side], plain, strict=True)]
        bound = 1.0 + allowance_s / median(plain)
        title = f"{what}, {side}: cold start to end (bound: 1 and {allowance_s:.0f} s)"
        claims.append(at_most(title, ratios, bound, "ratio", f"plain: {median(plain):.1f} s"))
    return claims
