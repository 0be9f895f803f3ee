"""Trials that do nothing, by plain Ray Tune or by a study: `search_noop.py tune|search N`.

The rate is of the trials behind the first one, up to the end of all; the time to the end of the
first one, in which processes start and a study's import torch, stands beside it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from typing import Any

from sigdca.distributed.environment import prepare_environment

JOB = """
name: noop
model: lenet-300-100
data: {source: mnist}
train: {epochs: 1}
compress: {recipe: [{prune: {sparsity: {ip1: 0.5}}}, encode]}
search:
  space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.1, 0.9]}}
  sampler: random
  sensitivity_images: 0
  fidelities: [1.0]
  num_trials: 1
"""


def figures(value: float) -> dict[str, float]:
    """What a trial gives: a front that grows with the root of the number of trials."""
    luck = random.Random(value).random()
    return {
        "accuracy": 100 * value,
        "error": 100 - 100 * value,
        "accuracy_drop": 0.0,
        "container_bytes": 1000 + 1000 * value * (1 + luck),
        "compression_ratio": 1.0,
    }


class Clock:
    """When it began, the first trial ended, and all did."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: float | None = None

    def trial_ended(self) -> None:
        """One more has."""
        self._first = self._first or time.monotonic()

    def told(self, num_trials: int) -> dict[str, float]:
        """Trials a second behind the first, and when that one had ended."""
        assert self._first is not None
        rate = (num_trials - 1) / (time.monotonic() - self._first)
        return {"trials_per_s": rate, "first_s": self._first - self._began}


def by_tune(num_trials: int, cores: int) -> dict[str, float]:
    """Two objectives by OptunaSearch in a class with reused actors."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Ended(tune.Callback):
        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            clock.trial_ended()

    class Noop(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._value = config["value"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._value = new_config["value"]
            return True

        def step(self) -> dict[str, Any]:
            return {**figures(self._value), "done": True}

    searcher = OptunaSearch(
        {"value": optuna.distributions.FloatDistribution(0.1, 0.9)},
        metric=["error", "container_bytes"],
        mode=["min", "min"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        tune.Tuner(
            tune.with_resources(Noop, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=num_trials,
                max_concurrent_trials=cores,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="noop",
                storage_path=folder,
                callbacks=[Ended()],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        return clock.told(num_trials)


def by_search(num_trials: int, cluster: Any) -> dict[str, float]:
    """The same as a study: records, front and Optuna's journal on disk after each trial."""
    from sigdca.distributed.search import run_trials
    from sigdca.distributed.trial import TrialSpec
    from sigdca.job import parse_job
    from sigdca.search import Study, StudyFolder
    from sigdca.storage import open_store

    job = parse_job(JOB, "noop.yaml", [f"search.num_trials={num_trials}"])
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        study = Study(job, StudyFolder(store))
        assert job.search is not None
        store.child("shared").put(b"")
        spec = TrialSpec(job, job.search.space, store, noop)
        clock = Clock()
        study.watchers.append(
            lambda _, record: clock.trial_ended() if record.ended is not None else None
        )
        run_trials(cluster, study, spec, None, [], print)
        told = clock.told(num_trials)
        assert len(study.trials()) == num_trials
        assert study.save("done").num_trials == {"done": num_trials}
        return told


def noop(spec: Any, number: int, point: dict[str, Any], share: float) -> dict[str, Any]:
    """A trial's work."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    value = point.get("compress.recipe.0.prune.sparsity.ip1", 0.5)
    result = {"figures": figures(value), "predicted": [], "container": empty, "run": ""}
    return result | {"failed": ""}


if __name__ == "__main__":
    side, wanted = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    prepare_environment(None)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    from sigdca.distributed.cluster import connected

    with connected(None, 1) as joined:
        if side == "tune":
            told = by_tune(wanted, os.cpu_count() or 1)
        else:
            told = by_search(wanted, joined)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told | {"peak_mb": peak_mb}))
