"""Test points: how a stage is run once, remembered, and found again by this run or another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from sigdca.codec import Graph
from sigdca.compression import Layer
from sigdca.job import Job
from sigdca.loop.dataset import identity_of
from sigdca.loop.executor import Executor
from sigdca.storage import Ledger, Record, Store, Walk

PACKAGE = "package"  # puts a file into the run's own folder, so each run does it
RELEASE = "release"  # of a cycle of `run --watch`


class Progress(Protocol):
    """Whoever watches the run."""

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """A stage starts."""

    def step(self, figures: Mapping[str, Any]) -> None:
        """So many steps of an epoch are done; not told of each."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """An epoch of the current stage is done."""

    def note(self, line: str) -> None:
        """Something happened that a person should know."""

    def end(self, record: Record, reused: bool) -> None:
        """A stage is done, or was found in the ledger."""


@dataclass(frozen=True)
class Watchers:
    """Several who watch one run."""

    each: tuple[Progress, ...]

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """See `Progress`."""
        for watcher in self.each:
            watcher.begin(stage, label, iteration, num_epochs)

    def note(self, line: str) -> None:
        """See `Progress`."""
        for watcher in self.each:
            watcher.note(line)

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `Progress`."""
        for watcher in self.each:
            watcher.step(figures)

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `Progress`."""
        for watcher in self.each:
            watcher.epoch(figures)

    def end(self, record: Record, reused: bool) -> None:
        """See `Progress`."""
        for watcher in self.each:
            watcher.end(record, reused)


@dataclass(frozen=True)
class Work:
    """What a stage's function gives back: figures, and what it made.

    `duration_s` is for a function that shared its time with another stage's.
    """

    metrics: dict[str, Any]
    artifact: bytes | None = None
    epochs: tuple[dict[str, Any], ...] = ()
    device_required: bool = False
    duration_s: float | None = None


@dataclass
class Run:
    """One run of a job: where it lies, who works, who watches.

    `shared` is a folder that several runs have in common: what one of them has done, with the same
    inputs, none of the others does again. Their artifacts lie there. `layers` are those of
    the network, for a run that compresses it.
    """

    job: Job
    graph: Graph
    store: Store
    executor: Executor
    progress: Progress
    shared: Store | None = None
    layers: Sequence[Layer] = ()
    ledger: Ledger = field(init=False)
    walk: Walk = field(init=False)
    data: Mapping[str, Any] = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store)
        self.walk = Walk(self.store)
        self.data = identity_of(self.job.data)

    @property
    def artifacts(self) -> Store:
        """Where weights and containers lie."""
        return self.store if self.shared is None else self.shared

    def stage(
        self,
        stage: str,
        label: str,
        iteration: int,
        inputs: Mapping[str, Any],
        work: Callable[[str], Work],
        num_epochs: int = 0,
    ) -> Record:
        """Runs a stage, unless the ledger has it with the same inputs.

        Args:
            stage: which box.
            label: which pass or target.
            iteration: from 1.
            inputs: all that determines the result besides the job's model, data and seed.
            work: does it; is given the stage's key.
            num_epochs: for the progress bar.

        Returns:
            The test point, which is on disk, its artifact too.
        """
        key = self._key(stage, label, iteration, inputs)
        known = self._known(key)
        if known is not None:
            return self._passed(known, reused=True)
        with self._alone_with(key):
            known = self._of_another_run(key)
            if known is not None:
                self.ledger.append(known)
                return self._passed(known, reused=True)
            record = self._do(key, stage, label, iteration, work, num_epochs)
        return self._passed(record, reused=False)

    def _passed(self, record: Record, reused: bool) -> Record:
        self.walk.add(record)
        self.progress.end(record, reused)
        return record

    def _do(
        self,
        key: str,
        stage: str,
        label: str,
        iteration: int,
        work: Callable[[str], Work],
        num_epochs: int,
    ) -> Record:
        self.progress.begin(stage, label, iteration, num_epochs)
        start = time.monotonic()
        done = work(key)
        elapsed = time.monotonic() - start
        record = Record(
            number=self.ledger.next_number,
            key=key,
            stage=stage,
            label=label,
            iteration=iteration,
            status="device-required" if done.device_required else "done",
            duration_s=round(elapsed if done.duration_s is None else done.duration_s, 3),
            metrics=done.metrics,
            artifact=None if done.artifact is None else self.artifacts.put(done.artifact),
            epochs=done.epochs,
            seed=self.job.seed,
            versions=versions(),
            machine=machine(),
        )
        self.ledger.append(record)
        if self.shared is not None and stage != PACKAGE and record.status == "done":
            content = json.dumps(record.model_dump(mode="json"))
            self.shared.write(f"index/{key}.json", content.encode())
        return record

    def _alone_with(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Keeps two runs that share their work from doing the same at the same time."""
        if self.shared is None:
            return contextlib.nullcontext()
        return self.shared.child("locks").lock(key, wait=True)

    def _of_another_run(self, key: str) -> Record | None:
        """What another run has done with the same inputs, as a record of this one."""
        name = f"index/{key}.json"
        if self.shared is None or not self.shared.exists(name):
            return None
        record = Record.model_validate_json(self.shared.read(name))
        if record.artifact is not None and not self.shared.has(record.artifact):
            return None
        return record.model_copy(update={"number": self.ledger.next_number})

    def is_known(self, stage: str, label: str, iteration: int, inputs: Mapping[str, Any]) -> bool:
        """Whether `stage` would find these inputs in the ledger."""
        return self._known(self._key(stage, label, iteration, inputs)) is not None

    def _key(self, stage: str, label: str, iteration: int, inputs: Mapping[str, Any]) -> str:
        determines = {
            "model": self.job.model,
            "graph": repr(self.graph),
            "data": self.data,
            "seed": self.job.seed,
            "stage": [stage, label, iteration],
            "inputs": inputs,
        }
        return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()

    def _known(self, key: str) -> Record | None:
        for record in self.ledger.find(key):
            if record.artifact is None or self.artifacts.has(record.artifact):
                return record
        return None  # never done, or its artifact is lost or damaged


def versions() -> dict[str, str]:
    """The versions of what takes part."""
    found = {"python": platform.python_version()}
    for package in ("sigdca", "torch", "ray", "numpy", "onnx", "onnxruntime", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """What the driver runs on."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            models = [line for line in file if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    except OSError:
        pass  # not Linux: the platform's own word will do
    return {"processor": name, "cores": str(os.cpu_count()), "system": platform.platform()}
