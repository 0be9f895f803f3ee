"""The boxes of the loop: each a function of the run and its inputs, remembered in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sigdca.codec import decode_container, encode_container, inspect_container
from sigdca.compression import held_layers, prepare_
from sigdca.data import find_source
from sigdca.engines import container_engine, logits_sha256
from sigdca.job import DataSource, Pass, Retrained, Train
from sigdca.loop.dataset import first_of
from sigdca.loop.events import stage_name
from sigdca.loop.executor import State, TestTask, TrainTask
from sigdca.loop.network import model_with, pack, state_of, unpack, weights_of
from sigdca.loop.points import Progress, Run, Work
from sigdca.storage import Record
from sigdca.training import SpeedChoice, TestCounts

# What says only how training is computed. A stage is the same one whatever they are: it goes on
# from its checkpoints, and is not repeated once it is done. Its key stands as if it had these, the
# way of the jobs in `jobs/`.
_ANY_WAY = {"strategy": "ddp", "workers": 2}
_ONLY_HOW = {*_ANY_WAY, "workers_at_least", "compile", "accumulation_steps"}
_UNTIL = {"accuracy_at_least", "iterations"}  # how often TRAIN is repeated, not what it does


def train(run: Run, iteration: int, state: str) -> Record:
    """TRAIN: from the weights `state` (an artifact), by the job's `train` section."""
    config = run.job.train
    inputs = {"state": state, "train": _what(config, set(Train.model_fields) - _UNTIL)}

    def work(key: str) -> Work:
        name = stage_name("train", "", iteration)
        return _train(run, key, name, state, None, config.epochs)

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
        model = model_with(run.job, unpack(run.artifacts.get(state)))
        metrics = prepare_(model, config, _seed(key), run.graph)
        return Work(metrics, pack(state_of(model)))

    return run.stage("compress", step.name, iteration, inputs, work)


def retrain(run: Run, iteration: int, step: Pass, state: str, before: Sequence[Pass]) -> Record:
    """RETRAIN: masks held, of the passes `before` too, or centroids tied; TRAIN's workers."""
    config = step.config
    assert isinstance(config, Retrained)
    settings = _what(run.job.train, {"batch_size", "precision", "deepspeed"})
    inputs = {"state": state, "pass": {step.name: config.model_dump()}, "train": settings}
    pruned = [earlier.prune for earlier in before if earlier.prune is not None]
    held = held_layers(config, pruned, run.layers)
    if held:  # else left out, so that old runs stay as they are
        inputs["held"] = held

    def work(key: str) -> Work:
        name = stage_name("retrain", step.name, iteration)
        return _train(run, key, name, state, config, config.epochs, held)

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
        weights = weights_of(run.graph, unpack(run.artifacts.get(state)))
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
        return _tested(run, task, decode_container(run.artifacts.get(container)).tensors)

    return run.stage("retest", "encode", iteration, inputs, work)


def container_task(run: Run, container: str, engine: str, limit: int | None = None) -> TestTask:
    """The test of a run's container by an engine, on the first `limit` test images."""
    content = run.artifacts.get(container)
    return task_of(content, run.job.data, engine, run.job.train.workers, limit)


def task_of(
    content: bytes, source: DataSource, engine: str, num_shares: int, limit: int | None = None
) -> TestTask:
    """The test of a container by an engine, on the first `limit` test images."""
    unpacked = decode_container(content)
    is_native = engine == "native"
    return TestTask(
        graph=unpacked.graph,
        state={} if is_native else unpacked.tensors,
        source=source if limit is None else first_of(source, "test", limit),
        engine=engine,
        num_shares=num_shares,
        container=content if is_native else None,
    )


def _what(train: Train, fields: set[str]) -> dict[str, Any]:
    """Those of TRAIN's settings that determine what it comes to, for a stage's key.

    The precision is one: numbers differ by more than the order of a sum. So are DeepSpeed's
    options, such as `gradient_clipping`, but for how it spreads its memory.
    """
    # A setting that is not given is left out, so that a new one leaves old runs as they are.
    settings = train.model_dump(include=fields - _ONLY_HOW, exclude_none=True)
    options = settings.pop("deepspeed", {})
    options = {key: value for key, value in options.items() if key != "zero_optimization"}
    return settings | _ANY_WAY | ({"deepspeed": options} if options else {})


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
            found["speed_choice"] = str(self._speed)
            if self._speed.ratio is not None:
                found["speed_ratio"] = self._speed.ratio
        return found | ({"faults": "; ".join(self._notes)} if self._notes else {})


def _train(
    run: Run,
    key: str,
    name: str,
    state: str,
    retrained: Retrained | None,
    epochs: int,
    held: tuple[str, ...] = (),
) -> Work:
    job = run.job
    checkpoints = run.store.child("checkpoints")
    task = TrainTask(
        key=key[:16],
        model=job.model,
        state=unpack(run.artifacts.get(state)),
        source=job.data,
        config=retrained or job.train,
        train=job.train,
        retrained=retrained,
        seed=_seed(key),
        checkpoints=checkpoints,
        held=held,
        job=job.name,
        stage=name,
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
        state = weights_of(run.graph, unpack(run.artifacts.get(artifact)))
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
