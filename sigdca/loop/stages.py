"""The boxes of the loop: each a function of the run and its inputs, remembered in the ledger."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from sigdca.codec import Graph, decode_container, encode_container, inspect_container
from sigdca.compression import prepare_
from sigdca.data import find_source
from sigdca.engines import container_engine, logits_sha256
from sigdca.job import Job, Pass, Retrained
from sigdca.loop.dataset import identity_of
from sigdca.loop.executor import Executor, State, TestTask, TrainTask
from sigdca.loop.network import model_with, pack, state_of, unpack, weights_of
from sigdca.storage import Ledger, Record, Store
from sigdca.training import SpeedChoice, TestCounts


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
    """One run of a job: where it lies, who works, who watches."""

    job: Job
    graph: Graph
    store: Store
    executor: Executor
    progress: Progress
    ledger: Ledger = field(init=False)
    data: Mapping[str, Any] = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store)
        self.data = identity_of(self.job.data)

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
            self.progress.end(known, reused=True)
            return known
        self.progress.begin(stage, label, iteration, num_epochs)
        start = time.monotonic()
        done = work(key)
        elapsed = time.monotonic() - start
        record = Record(
            number=len(self.ledger.records) + 1,
            key=key,
            stage=stage,
            label=label,
            iteration=iteration,
            status="device-required" if done.device_required else "done",
            duration_s=round(elapsed if done.duration_s is None else done.duration_s, 3),
            metrics=done.metrics,
            artifact=None if done.artifact is None else self.store.put(done.artifact),
            epochs=done.epochs,
            seed=self.job.seed,
            versions=versions(),
            machine=machine(),
        )
        self.ledger.append(record)
        self.progress.end(record, reused=False)
        return record

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
        record = self.ledger.find(key)
        if record is None or record.artifact is None or self.store.has(record.artifact):
            return record
        return None  # its artifact is lost or damaged


def train(run: Run, iteration: int, state: str) -> Record:
    """TRAIN: from the weights `state` (an artifact), by the job's `train` section."""
    config = run.job.train
    # A setting that is not given is left out, so that a new one leaves old runs as they are.
    left_out = {"accuracy_at_least", "iterations"}
    settings = config.model_dump(exclude=left_out, exclude_none=True)
    inputs = {"state": state, "train": settings}

    def work(key: str) -> Work:
        return _train(run, key, state, None, config.epochs)

    return run.stage("train", "", iteration, inputs, work, config.epochs)


def test(run: Run, iteration: int, state: str) -> Record:
    """TEST: the uncompressed network on the test split, spread over the workers."""
    return _test(run, "test", "", iteration, state)


def compress(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """COMPRESS: the part of a pass that needs no training (a mask, a codebook)."""
    config = step.config
    assert isinstance(config, Retrained)
    inputs = {"state": state, "pass": {step.name: config.model_dump()}}

    def work(key: str) -> Work:
        model = model_with(run.job, unpack(run.store.get(state)))
        metrics = prepare_(model, config, seed=_seed(key))
        return Work(metrics, pack(state_of(model)))

    return run.stage("compress", step.name, iteration, inputs, work)


def retrain(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """RETRAIN: masks held or centroids tied, with the workers of TRAIN."""
    config = step.config
    assert isinstance(config, Retrained)
    shared = {
        "strategy",
        "workers",
        "batch_size",
        "precision",
        "accumulation_steps",
        "compile",
        "deepspeed",
    }
    settings = run.job.train.model_dump(include=shared, exclude_none=True)
    inputs = {"state": state, "pass": {step.name: config.model_dump()}, "train": settings}

    def work(key: str) -> Work:
        return _train(run, key, state, config, config.epochs)

    return run.stage("retrain", step.name, iteration, inputs, work, config.epochs)


def retest(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """RETEST after a pass: the weights as they stand, spread over the workers."""
    return _test(run, "retest", step.name, iteration, state)


def encode(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """COMPRESS, last pass: the weights into a container."""
    assert step.encode is not None
    coder = step.encode.coder
    metadata = {"model": run.job.model, "data": find_source(run.job.data.source).name}
    inputs = {"state": state, "coder": coder, "metadata": metadata}

    def work(_key: str) -> Work:
        weights = weights_of(run.graph, unpack(run.store.get(state)))
        container = encode_container(run.graph, weights, coder=coder, metadata=metadata)
        info = inspect_container(container)
        metrics = {
            "container_bytes": info.container_bytes,
            "compression_ratio": info.compression_ratio,
        }
        return Work(metrics, container)

    return run.stage("compress", "encode", iteration, inputs, work)


def retest_container(run: Run, iteration: int, container: str) -> Record:
    """RETEST of the container itself, by the engine that runs it as it is, where that is there."""
    engine = container_engine()
    inputs = {"container": container, "engine": engine}

    def work(_key: str) -> Work:
        task = container_task(run, container, engine)
        return _tested(run, task, decode_container(run.store.get(container)).tensors)

    return run.stage("retest", "encode", iteration, inputs, work)


def container_task(run: Run, container: str, engine: str, limit: int | None = None) -> TestTask:
    """The test of a container by an engine, on the first `limit` test images."""
    content = run.store.get(container)
    unpacked = decode_container(content)
    source = run.job.data if limit is None else run.job.data.model_copy(update={"limit": limit})
    is_native = engine == "native"
    return TestTask(
        graph=unpacked.graph,
        state={} if is_native else unpacked.tensors,
        source=source,
        engine=engine,
        num_shares=run.job.train.workers,
        container=content if is_native else None,
    )


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


def _seed(key: str) -> int:
    """A stage's own seed, so that no two stages see the images in the same order."""
    return int(key[:7], 16)


class _Watched:
    """Passes on what is heard of a training, and keeps what belongs into its record."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._notes: list[str] = []
        self._speed: SpeedChoice | None = None

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""
        self._progress.epoch(figures)

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""
        self._progress.step(figures)

    def speed(self, choice: SpeedChoice) -> None:
        """See `Observer`."""
        self._speed = choice

    def note(self, line: str) -> None:
        """See `Observer`."""
        self._notes.append(line)
        self._progress.note(line)

    def metrics(self) -> dict[str, Any]:
        """For the record: what the way of computing gains, and what went wrong."""
        found: dict[str, Any] = {}
        if self._speed is not None:
            found = {"speed_choice": str(self._speed), "speed_ratio": self._speed.ratio}
        return found | ({"faults": "; ".join(self._notes)} if self._notes else {})


def _train(run: Run, key: str, state: str, retrained: Retrained | None, epochs: int) -> Work:
    job = run.job
    checkpoints = run.store.child("checkpoints")
    task = TrainTask(
        key=key[:16],
        model=job.model,
        state=unpack(run.store.get(state)),
        source=job.data,
        config=retrained or job.train,
        train=job.train,
        retrained=retrained,
        seed=_seed(key),
        checkpoints=checkpoints,
    )
    observer = _Watched(run.progress)
    outcome = run.executor.train(task, observer)
    last = outcome.epochs[-1]
    metrics = {
        "num_epochs": epochs,
        "loss": last["loss"],
        "images_per_s": last["images_per_s"],
        "sparsity": last["sparsity"],
        "num_workers": job.train.workers,
    }
    return Work(metrics | observer.metrics(), pack(outcome.state), outcome.epochs)


def _test(run: Run, stage: str, label: str, iteration: int, artifact: str) -> Record:
    """The weights as they stand, by the engine that trained them."""
    inputs = {"artifact": artifact, "engine": "torch"}

    def work(_key: str) -> Work:
        state = weights_of(run.graph, unpack(run.store.get(artifact)))
        task = TestTask(run.graph, state, run.job.data, "torch", run.job.train.workers)
        return _tested(run, task, state)

    return run.stage(stage, label, iteration, inputs, work)


def _tested(run: Run, task: TestTask, tensors: State) -> Work:
    counts = run.executor.test(task)
    # A batch norm's running statistics are stored, but they are not parameters.
    parameters = [value for name, value in tensors.items() if ".running_" not in name]
    num_parameters = sum(value.size for value in parameters)
    size = {"num_parameters": num_parameters, "dense_bytes": 4 * num_parameters}
    return Work(evaluation_metrics(counts, task.engine) | size)


def evaluation_metrics(counts: TestCounts, engine: str) -> dict[str, Any]:
    """Accuracy and error in percent from whole numbers, and the hash of all logits."""
    num_wrong = counts.num_samples - counts.num_correct
    return {
        "accuracy": 100 * counts.num_correct / counts.num_samples,
        "error": 100 * num_wrong / counts.num_samples,
        "num_correct": counts.num_correct,
        "num_samples": counts.num_samples,
        "logits_sha256": logits_sha256(counts.logits),
        "engine": engine,
    }
