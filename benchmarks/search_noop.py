"""Trials that do nothing, by plain Ray Tune or by a study: `search_noop.py tune|search N`."""

from __future__ import annotations

import json
import os
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
    """What a trial gives."""
    return {
        "accuracy": 100 * value,
        "error": 100 - 100 * value,
        "accuracy_drop": 0.0,
        "container_bytes": 1000 + 1000 * value,
        "compression_ratio": 1.0,
    }


def by_tune(num_trials: int, cores: int) -> None:
    """Two objectives by OptunaSearch in a class with reused actors."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

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
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def by_search(num_trials: int, cluster: Any) -> None:
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
        run_trials(cluster, study, spec, None, [])
        assert len(study.trials()) == num_trials


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
    import ray

    from sigdca.distributed.cluster import connected

    with connected(None, 1) as joined:
        ray.get([ray.remote(lambda: None).remote() for _ in range(4)])
        start = time.monotonic()
        if side == "tune":
            by_tune(wanted, os.cpu_count() or 1)
        else:
            by_search(wanted, joined)
        rate = wanted / (time.monotonic() - start)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"trials_per_s": rate, "peak_mb": peak_mb}))
