"""The container of a run or study once more: on servers and targets, whatever is known of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sigdca.codec import decode_container
from sigdca.edge.legs import LegResult, is_proven
from sigdca.engines import container_engine
from sigdca.errors import JobError
from sigdca.job import Job
from sigdca.job.budget import check_budget, figures_at, written
from sigdca.loop.dataset import num_first
from sigdca.loop.edge import not_proven, run_legs
from sigdca.loop.executor import Executor
from sigdca.loop.points import PACKAGE, Progress, Run, versions
from sigdca.loop.stages import container_task, evaluation_metrics
from sigdca.search import StudyFolder
from sigdca.storage import Ledger, Store, latest_with


@dataclass(frozen=True)
class Retest:
    """What a retest found; `failures` is empty if the container may be released.

    Attributes:
        job: the job's name.
        container: sha256 of the container.
        tested_at: UTC, such as 20261126T073000Z.
        figures: of the servers' test, as RETEST gives them, `accuracy_drop` and `container_bytes`.
        legs: what each target said.
        failures: one line for each bound that is missed and each target that proved nothing.
        versions: of the libraries that took part.
    """

    job: str
    container: str
    tested_at: str
    figures: dict[str, Any]
    legs: tuple[LegResult, ...]
    failures: tuple[str, ...]
    versions: dict[str, str]

    @property
    def name(self) -> str:
        """The record's place in the run's folder."""
        return f"retests/{self.tested_at}.json"


def retest_run(job: Job, executor: Executor, store: Store, progress: Progress) -> Retest:
    """Tests the best container of a run or study again, and leaves a record in its `retests/`.

    Args:
        job: the job; its targets, budget and data count.
        executor: who tests.
        store: the folder of the run or study, with `model.dca` and what is known of it.
        progress: who watches.

    Raises:
        JobError: there is no container yet, or one of another run.
        SigdcaError: a fault on the way.
    """
    before = _figures(store)
    content = store.read("model.dca")
    digest = store.put(content)
    run = Run(job, decode_container(content).graph, store, executor, progress)
    engine = container_engine()
    figures = evaluation_metrics(executor.test(container_task(run, digest, engine)), engine)
    lost = before["accuracy"] - figures["accuracy"]
    figures["accuracy_drop"] = before["accuracy_drop"] + lost
    figures["container_bytes"] = len(content)
    num_samples = num_first(job.data, "test", job.edge_test.num_samples)
    found = run_legs(run, list(job.targets), digest, num_samples)
    legs = tuple(found[target] for target in job.targets)
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    failures = _failures(job, figures, legs)
    told = Retest(job.name, digest, at, figures, legs, failures, versions())
    store.write(told.name, json.dumps(asdict(told), indent=1).encode())
    return told


def _figures(store: Store) -> Mapping[str, Any]:
    """What RETEST said of `model.dca`: in the run that packed it, or in the study's trial."""
    if not store.exists("model.dca"):
        raise JobError(f"{store.root}: holds no container yet; run the job first")
    container = store.read("model.dca")
    record = latest_with(Ledger(store).records, PACKAGE, container)
    if record is not None:
        return record.metrics
    digest = hashlib.sha256(container).hexdigest()
    for trial in StudyFolder(store).trials():
        if trial.full is not None and trial.full.container == digest:
            return trial.full.figures
    raise JobError(f"{store.path('model.dca')}: is not of this run; run the job first")


def _failures(job: Job, figures: dict[str, Any], legs: tuple[LegResult, ...]) -> tuple[str, ...]:
    at: dict[str, float] = {}
    for name, leg in zip(job.targets, legs, strict=True):
        at |= figures_at(name, vars(leg))
    lines = check_budget(
        job.budget,
        accuracy_drop=figures["accuracy_drop"],
        error=figures["error"],
        container_bytes=figures["container_bytes"],
        targets=job.targets,
        at=at,
    )
    missed = [
        f"budget {line.name}: at most {written(line.bound)}, got {written(line.value)}"
        if not line.name.startswith("fps")
        else f"budget {line.name}: at least {written(line.bound)}, got {written(line.value)}"
        for line in lines
        if line.met is False and line.value is not None
    ]
    unproven = [
        not_proven(leg.target, leg.verdict, leg.reason)
        for leg in legs
        if not is_proven(leg.verdict, leg.evidence, job.edge_test.require)
    ]
    return tuple(missed + unproven)
