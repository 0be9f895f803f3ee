"""EDGE TEST: the best container on all of the job's targets, each against the server's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sigdca.codec import decode_container
from sigdca.data import find_source
from sigdca.edge.legs import (
    LegResult,
    device_required,
    is_proven,
    without_a_leg,
)
from sigdca.engines import open_engine, to_int8, to_onnx
from sigdca.errors import EngineError, JobError
from sigdca.job import DataSource, EdgeTest
from sigdca.loop.dataset import dataset_of, num_first
from sigdca.loop.executor import EdgeTask, Executor
from sigdca.loop.points import Run, Work
from sigdca.loop.stages import task_of
from sigdca.storage import Record
from sigdca.targets import load_target

CALIBRATED = "openvino-int8"  # is made of a container and training images
RUN_AS_IT_IS = ("native", CALIBRATED)  # the servers run the very file that targets do
# What servers compare with, where they need not have what targets have.
REFERENCES = {"tensorrt": "onnxruntime", "tensorrt-fp16": "onnxruntime"}
NUM_CALIBRATION = 300  # training images that say how large activations are


def edge_tests(run: Run, iteration: int, targets: Sequence[str], container: str) -> list[Record]:
    """EDGE TEST on every target, a test point each.

    The legs of all targets that the ledger does not know run at the same time.
    """
    num_samples = num_first(run.job.data, "test", run.job.edge_test.num_samples)
    inputs = {
        target: edge_inputs(target, container, num_samples, run.job.edge_test)
        for target in targets
    }
    unknown = [
        target
        for target, determines in inputs.items()
        if not run.is_known("edge-test", target, iteration, determines)
    ]
    legs: dict[str, LegResult] = {}

    def work_of(target: str) -> Callable[[str], Work]:
        def work(_key: str) -> Work:
            if not legs:
                legs.update(run_legs(run, unknown, container, num_samples))
            leg = legs[target]
            return Work(
                asdict(leg) | {"container": container},
                device_required=not is_proven(
                    leg.verdict, leg.evidence, run.job.edge_test.require
                ),
                duration_s=leg.duration_s or 0.0,
            )

        return work

    return [
        run.stage("edge-test", target, iteration, determines, work_of(target))
        for target, determines in inputs.items()
    ]


def edge_inputs(target: str, container: str, num_samples: int, test: EdgeTest) -> dict[str, Any]:
    """What a verdict depends on: with equal ones it need not be asked for again."""
    known = load_target(target)
    inputs: dict[str, Any] = {
        "target": target,
        "engine": known.engine,
        "container": container,
        "num_samples": num_samples,
    }
    limited = test.over(known.limits).model_dump(exclude_none=True)
    # Without limits the key is that of legs from before there were any.
    inputs |= {"limits": limited} if limited else {}
    if target.endswith(".toml"):  # the user's own may name another board or emulator tomorrow
        kind = known.model_dump(mode="json", include={"name", "device", "emulator"})
        inputs |= {"kind": kind}
    # What an emulation has shown is no answer where the board's own is required.
    return inputs | ({"require": test.require} if test.require == "device" else {})


def run_legs(
    run: Run, targets: Sequence[str], container: str, num_samples: int
) -> dict[str, LegResult]:
    """The legs of some of a run's targets."""
    return legs_of(
        run.executor,
        run.artifacts.get(container),
        targets,
        run.job.data,
        num_samples,
        run.job.edge_test,
        num_shares=run.job.train.workers,
    )


def legs_of(
    executor: Executor,
    container: bytes,
    targets: Sequence[str],
    source: DataSource,
    num_samples: int,
    test: EdgeTest,
    num_shares: int = 1,
) -> dict[str, LegResult]:
    """The test legs of some targets; what is compared is computed once for each engine.

    Args:
        executor: who runs them, and the test on the servers.
        container: the content of a `.dca` file.
        targets: names or files of targets.
        source: the data.
        num_samples: the first so many of its test images.
        test: what a leg may use, and for how long it is waited.
        num_shares: into how many parts the test on the servers is cut.

    Returns:
        Each target's verdict; `device-required`, with the reason, where nothing could be compared.
    """
    models: dict[str, tuple[bytes, np.ndarray]] = {}
    legs: dict[str, LegResult] = {}
    tasks: list[EdgeTask] = []
    nodes = executor.nodes_for(targets)
    for name in targets:
        target = load_target(name)
        cannot = without_a_leg(target, nodes.get(name))
        if cannot is not None:
            legs[name] = cannot
            continue
        try:
            if target.engine not in models:
                models[target.engine] = _model(
                    executor, container, target.engine, source, num_samples, num_shares
                )
        except EngineError as error:  # the server itself lacks it: a leg never ends the loop
            legs[name] = device_required(target, f"target '{name}': no reference: {error}")
            continue
        model, reference = models[target.engine]
        tasks.append(
            EdgeTask(
                name,
                model,
                source,
                num_samples,
                reference,
                limits=test.limits,
                timeout_s=test.timeout_s,
            )
        )
    if tasks:
        results = executor.edge_tests(tasks)
        legs |= {task.target: leg for task, leg in zip(tasks, results, strict=True)}
    return legs


def not_proven(target: str, verdict: str, reason: str) -> str:
    """What is said of a target that proved less than it must: nothing, or by emulation alone."""
    lacks = "" if verdict == "device-required" else " on an emulation, where a board is required"
    return f"target '{target}': {verdict}{lacks}: {reason}"


def noise_task(container: bytes, target: str, source: DataSource, num_samples: int) -> NoiseTask:
    """What a board measures a container with: random images, so that no data leaves its site.

    Args:
        container: the container.
        target: whose engine runs it.
        source: the data, for its images' shape.
        num_samples: how many images.

    Raises:
        EngineError: this machine lacks the target's engine.
    """
    engine = load_target(target).engine
    unpacked = decode_container(container)
    shape = find_source(source.source).input_shape
    images = np.random.default_rng(0).integers(0, 256, (num_samples, *shape), dtype=np.uint8)
    model = _model_of(engine, container, images)
    as_it_is = engine in RUN_AS_IT_IS
    server = open_engine(
        REFERENCES.get(engine, engine),
        unpacked.graph,
        {} if as_it_is else unpacked.tensors,
        threads=1,
        container=model if as_it_is else None,
    )
    return NoiseTask(model, images, server.logits(images))


@dataclass(frozen=True)
class NoiseTask:
    """What the target's engine takes, random images, and the server's logits of them."""

    model: bytes
    images: np.ndarray
    reference_logits: np.ndarray


def _model(
    executor: Executor,
    container: bytes,
    engine: str,
    source: DataSource,
    num_samples: int,
    num_shares: int,
) -> tuple[bytes, np.ndarray]:
    """What an engine takes on a target, and the logits that it gives on the server."""
    reference = REFERENCES.get(engine, engine)
    task = task_of(container, source, reference, num_shares, num_samples)
    images = None
    if engine == CALIBRATED:
        try:
            images = dataset_of(source, "train", NUM_CALIBRATION).images
        except JobError as error:  # there is no such split
            raise EngineError(f"{engine}: {error}") from error
    model = _model_of(engine, container, images)
    if engine in RUN_AS_IT_IS:
        task = replace(task, state={}, container=model)
    return model, executor.test(task).logits


def _model_of(engine: str, container: bytes, images: np.ndarray | None) -> bytes:
    """What an engine takes; `images` are for one that quantises activations."""
    if engine == "native":
        return container
    unpacked = decode_container(container)
    onnx_model = to_onnx(unpacked.graph, unpacked.tensors)
    return onnx_model if images is None or engine != CALIBRATED else to_int8(onnx_model, images)
