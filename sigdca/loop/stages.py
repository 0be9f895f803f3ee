"""The boxes of the loop: each a function of the run and its inputs, remembered in the ledger."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from sigdca.codec import Graph, decode_container, encode_container, inspect_container
from sigdca.compression import prepare_
from sigdca.edge.legs import LegResult
from sigdca.engines import logits_sha256, to_onnx
from sigdca.job import Job, Pass, Prune, Share
from sigdca.loop.dataset import num_images
from sigdca.loop.executor import EdgeTask, Executor, TestTask, TrainTask
from sigdca.loop.network import model_with, pack, state_of, unpack, weights_of
from sigdca.storage import Ledger, Record, Store
from sigdca.training import TestCounts

EDGE_ENGINE = "onnxruntime"  # what the test legs run, and so what they are compared with


class Progress(Protocol):
    """Whoever watches the run."""

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """A stage starts."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """An epoch of the current stage is done."""

    def end(self, record: Record, reused: bool) -> None:
        """A stage is done, or was found in the ledger."""


@dataclass(frozen=True)
class Work:
    """What a stage's function gives back: figures, and what it made."""

    metrics: dict[str, Any]
    artifact: bytes | None = None
    epochs: tuple[dict[str, Any], ...] = ()
    device_required: bool = False


@dataclass
class Run:
    """One run of a job: where it lies, who works, who watches."""

    job: Job
    graph: Graph
    store: Store
    executor: Executor
    progress: Progress
    ledger: Ledger = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store)

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
        determines = {
            "model": self.job.model,
            "graph": repr(self.graph),
            "data": self.job.data.model_dump(),
            "seed": self.job.seed,
            "stage": [stage, label, iteration],
            "inputs": inputs,
        }
        key = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()
        known = self.ledger.find(key)
        if known is not None and self._artifact_is_there(known):
            self.progress.end(known, reused=True)
            return known
        self.progress.begin(stage, label, iteration, num_epochs)
        start = time.monotonic()
        done = work(key)
        record = Record(
            number=len(self.ledger.records) + 1,
            key=key,
            stage=stage,
            label=label,
            iteration=iteration,
            status="device-required" if done.device_required else "done",
            duration_s=round(time.monotonic() - start, 3),
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

    def _artifact_is_there(self, record: Record) -> bool:
        return record.artifact is None or self.store.has(record.artifact)


def train(run: Run, iteration: int, state: str) -> Record:
    """TRAIN: from the weights `state` (an artifact), by the job's `train` section."""
    config = run.job.train
    settings = config.model_dump(exclude={"accuracy_at_least", "iterations"})
    inputs = {"state": state, "train": settings}

    def work(key: str) -> Work:
        return _train(run, key, state, None, config.epochs)

    return run.stage("train", "", iteration, inputs, work, config.epochs)


def test(run: Run, iteration: int, state: str) -> Record:
    """TEST: the uncompressed network on the test split, spread over the workers."""
    return _test(run, "test", "", iteration, state, "torch")


def compress(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """COMPRESS: the part of a pass that needs no training (a mask, a codebook)."""
    config = step.config
    assert isinstance(config, Prune | Share)
    inputs = {"state": state, "pass": {step.name: config.model_dump()}}

    def work(key: str) -> Work:
        model = model_with(run.job, unpack(run.store.get(state)))
        metrics = prepare_(model, config, seed=_seed(key))
        return Work(metrics, pack(state_of(model)))

    return run.stage("compress", step.name, iteration, inputs, work)


def retrain(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """RETRAIN: masks held or centroids tied, with the workers of TRAIN."""
    config = step.config
    assert isinstance(config, Prune | Share)
    settings = run.job.train.model_dump(include={"strategy", "workers", "batch_size"})
    inputs = {"state": state, "pass": {step.name: config.model_dump()}, "train": settings}

    def work(key: str) -> Work:
        return _train(run, key, state, config, config.epochs)

    return run.stage("retrain", step.name, iteration, inputs, work, config.epochs)


def retest(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """RETEST after a pass: the weights as they stand, spread over the workers."""
    return _test(run, "retest", step.name, iteration, state, "torch")


def encode(run: Run, iteration: int, step: Pass, state: str) -> Record:
    """COMPRESS, last pass: the weights into a container."""
    assert step.encode is not None
    coder = step.encode.coder
    metadata = {"model": run.job.model, "data": run.job.data.source}
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
    """RETEST of the container itself: decoded, exported, run by the engine of the legs."""
    return _test(run, "retest", "encode", iteration, container, EDGE_ENGINE)


def edge_test(run: Run, iteration: int, target: str, container: str) -> Record:
    """EDGE TEST: the container on a target, or on its emulation, against the server."""
    num_samples = num_images(run.job.data, "test", run.job.edge_test.num_samples)
    inputs = {"target": target, "container": container, "num_samples": num_samples}

    def work(_key: str) -> Work:
        unpacked = decode_container(run.store.get(container))
        task = TestTask(
            unpacked.graph, unpacked.tensors, run.job.data, EDGE_ENGINE, run.job.train.workers
        )
        reference = run.executor.test(task).logits[:num_samples]
        model = to_onnx(unpacked.graph, unpacked.tensors)
        leg: LegResult = run.executor.edge_test(
            EdgeTask(target, model, run.job.data, num_samples, reference)
        )
        metrics = asdict(leg) | {"container": container}
        return Work(metrics, device_required=leg.verdict == "device-required")

    return run.stage("edge-test", target, iteration, inputs, work)


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


def _train(run: Run, key: str, state: str, retrained: Prune | Share | None, epochs: int) -> Work:
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
    outcome = run.executor.train(task, run.progress.epoch)
    last = outcome.epochs[-1]
    metrics = {
        "num_epochs": epochs,
        "loss": last["loss"],
        "images_per_s": last["images_per_s"],
        "sparsity": last["sparsity"],
        "num_workers": job.train.workers,
    }
    return Work(metrics, pack(outcome.state), outcome.epochs)


def _test(run: Run, stage: str, label: str, iteration: int, artifact: str, engine: str) -> Record:
    inputs = {"artifact": artifact, "engine": engine}

    def work(_key: str) -> Work:
        content = run.store.get(artifact)
        if engine == EDGE_ENGINE:
            unpacked = decode_container(content)
            graph, state = unpacked.graph, unpacked.tensors
        else:
            graph, state = run.graph, weights_of(run.graph, unpack(content))
        counts = run.executor.test(
            TestTask(graph, state, run.job.data, engine, run.job.train.workers)
        )
        # A batch norm's running statistics are stored, but they are not parameters.
        parameters = {name: value for name, value in state.items() if ".running_" not in name}
        num_parameters = sum(value.size for value in parameters.values())
        size = {"num_parameters": num_parameters, "dense_bytes": 4 * num_parameters}
        return Work(evaluation_metrics(counts, engine) | size)

    return run.stage(stage, label, iteration, inputs, work)


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
