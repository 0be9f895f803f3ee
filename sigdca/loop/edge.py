"""EDGE TEST: the best container on all of the job's targets, each against the server's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sigdca.codec import decode_container
from sigdca.data import find_source
from sigdca.edge.legs import (
    Evidence,
    LegResult,
    device_required,
    is_proven,
    without_a_leg,
)
from sigdca.engines import open_engine, to_onnx
from sigdca.errors import EngineError
from sigdca.job import DataSource
from sigdca.loop.dataset import num_images
from sigdca.loop.executor import EdgeTask
from sigdca.loop.points import Run, Work
from sigdca.loop.stages import container_task
from sigdca.storage import Record
from sigdca.targets import load_target


def edge_tests(run: Run, iteration: int, targets: Sequence[str], container: str) -> list[Record]:
    """EDGE TEST on every target, a test point each.

    The legs of all targets that the ledger does not know run at the same time.
    """
    num_samples = num_images(run.job.data, "test", run.job.edge_test.num_samples)
    required = run.job.edge_test.require
    inputs = {target: _inputs(target, container, num_samples, required) for target in targets}
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
                device_required=not is_proven(leg.verdict, leg.evidence, required),
                duration_s=leg.duration_s or 0.0,
            )

        return work

    return [
        run.stage("edge-test", target, iteration, determines, work_of(target))
        for target, determines in inputs.items()
    ]


def _inputs(
    target: str, container: str, num_samples: int, required: Evidence | None
) -> dict[str, Any]:
    engine = load_target(target).engine
    inputs = {"target": target, "engine": engine, "container": container}
    # What an emulation has shown is no answer where the board's own is required.
    of_a_board = {"require": required} if required == "device" else {}
    return inputs | {"num_samples": num_samples} | of_a_board


def run_legs(
    run: Run, targets: Sequence[str], container: str, num_samples: int
) -> dict[str, LegResult]:
    """The legs of some targets; what is compared is computed once for each engine."""
    models: dict[str, tuple[bytes, np.ndarray]] = {}
    legs: dict[str, LegResult] = {}
    tasks: list[EdgeTask] = []
    for name in targets:
        target = load_target(name)
        cannot = without_a_leg(target)
        if cannot is not None:
            legs[name] = cannot
            continue
        try:
            if target.engine not in models:
                models[target.engine] = _model(run, target.engine, container, num_samples)
        except EngineError as error:  # the server itself lacks it: a leg never ends the loop
            legs[name] = device_required(target, f"target '{name}': no reference: {error}")
            continue
        model, reference = models[target.engine]
        timeout_s = run.job.edge_test.timeout_s
        tasks.append(EdgeTask(name, model, run.job.data, num_samples, reference, timeout_s))
    if tasks:
        results = run.executor.edge_tests(tasks)
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
    is_native = engine == "native"
    server = open_engine(
        engine,
        unpacked.graph,
        {} if is_native else unpacked.tensors,
        threads=1,
        container=container if is_native else None,
    )
    model = container if is_native else to_onnx(unpacked.graph, unpacked.tensors)
    return NoiseTask(model, images, server.logits(images))


@dataclass(frozen=True)
class NoiseTask:
    """What the target's engine takes, random images, and the server's logits of them."""

    model: bytes
    images: np.ndarray
    reference_logits: np.ndarray


def _model(run: Run, engine: str, container: str, limit: int) -> tuple[bytes, np.ndarray]:
    """What an engine takes on a target, and the logits that it gives on the server."""
    reference = run.executor.test(container_task(run, container, engine, limit)).logits
    content = run.artifacts.get(container)
    if engine == "native":
        return content, reference
    unpacked = decode_container(content)
    return to_onnx(unpacked.graph, unpacked.tensors), reference
