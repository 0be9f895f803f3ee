"""The train leg: a container is tuned on the board that runs it, to the data that the board met.

What is trained is what the container holds few of: the values that its weights share, and the
biases; of small layers also which of these values a weight takes. Its zeros stay, and so does
its size. A share of the labelled samples is held out and decides what is kept. What leaves the
board is a delta (`delta.py`). Needs torch, which is imported when a leg begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import Graph, decode_container, infer_shapes
from sigdca.edge.delta import Evidence, make_delta, with_tensors
from sigdca.edge.limits import Limits, peak_bytes
from sigdca.edge.train_plan import Labelled, Plan, TrainConfig
from sigdca.engines import container_engine, evaluate, open_engine
from sigdca.errors import EngineError, JobError

MIN_SAMPLES = 10
_PACKING = 12  # times as long as unpacking: two containers made, some taken apart to be tested


@dataclass(frozen=True)
class TrainLeg:
    """What a train leg gives back.

    Attributes:
        delta: what to send; None if nothing was better on the samples held out.
        reason: why, or how much better it is, one line.
        evidence: what was seen on the board's samples.
        num_epochs: epochs that were done whole.
        stopped_by: the limit that ended it; None if it came to its end.
        duration_s: how long it took.
        peak_bytes: of the process's memory; 0 where the kernel does not say.
    """

    delta: bytes | None
    reason: str
    evidence: Evidence
    num_epochs: int
    stopped_by: str | None
    duration_s: float
    peak_bytes: int


def run_train_leg(
    model: bytes,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    config: TrainConfig | None = None,
) -> TrainLeg:
    """Tunes a container to labelled samples.

    The same container, samples and settings give the same delta, unless a limit ends the training.

    Args:
        model: a container.
        images: uint8 [n, C, H, W], n at least 10.
        labels: whole numbers [n].
        config: how; None: as it is by default.

    Raises:
        FormatError: the container is not sound.
        JobError: samples or settings do not fit the network, or the memory.
        EngineError: torch is not installed.
    """
    config = config or TrainConfig()
    limits = Limits(config.time_limit_s, config.memory_limit_bytes)
    container = decode_container(model)
    packing_s = _PACKING * limits.elapsed_s
    _check(container.graph, images, labels)
    train, held_out = _split(Labelled(images, labels.astype(np.int64)), config)
    try:
        from sigdca.edge import tuning
    except ModuleNotFoundError as error:
        raise EngineError(
            f"train leg: {error.name} is not installed; pip install torch"
        ) from error
    plan = Plan.of(container.tensors, config.max_delta_bytes)
    tuned = tuning.tune(container, plan, train, held_out, config, limits, packing_s)
    result = None if tuned.tensors is None else with_tensors(model, tuned.tensors)
    before = _num_right(model, held_out)
    after = before if result is None else _num_right(result, held_out)
    evidence = Evidence(len(train), len(held_out), before, after)
    delta = None
    reason = f"nothing was better on {len(held_out)} samples held out"
    if result is not None and after > before:
        delta = make_delta(model, result, evidence)
        reason = f"{after} instead of {before} of {len(held_out)} samples held out are right"
    if delta is not None and len(delta) > config.max_delta_bytes:
        reason = f"the delta has {len(delta)} bytes, limit {config.max_delta_bytes}"
        delta = None
    return TrainLeg(
        delta,
        reason + (f"; ended by its {tuned.stopped_by}" if tuned.stopped_by else ""),
        evidence,
        tuned.num_epochs,
        tuned.stopped_by,
        round(limits.elapsed_s, 3),
        peak_bytes(),
    )


def without_delta(reason: str) -> TrainLeg:
    """What a leg gives back that could not be run."""
    return TrainLeg(None, reason, Evidence(), 0, None, 0.0, 0)


def _check(graph: Graph, images: NDArray[np.uint8], labels: NDArray[np.integer]) -> None:
    shape, output = graph.input_shape, infer_shapes(graph)[-1]
    if len(output) != 1:
        raise JobError(f"train leg: the network's output must be one vector, got {output}")
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        got = f"{images.dtype} {list(images.shape)}"
        raise JobError(f"train leg: images must be uint8 [n, {str(shape)[1:-1]}], got {got}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {list(labels.shape)}"
        raise JobError(f"train leg: labels must be whole numbers [{len(images)}], got {got}")
    if len(labels) < MIN_SAMPLES:
        raise JobError(
            f"train leg: needs {MIN_SAMPLES} labelled samples at least, got {len(labels)}"
        )
    if labels.min() < 0 or labels.max() >= output[0]:
        got = f"{labels.min()}..{labels.max()}"
        raise JobError(f"train leg: labels must be 0..{output[0] - 1}, got {got}")


def _split(samples: Labelled, config: TrainConfig) -> tuple[Labelled, Labelled]:
    """The samples to train on, and those held out: one at least of either."""
    order = np.random.default_rng([config.seed, 0]).permutation(len(samples))
    count = min(max(1, round(config.held_out * len(samples))), len(samples) - 1)
    held_out, train = np.sort(order[:count]), np.sort(order[count:])
    return tuple(  # type: ignore[return-value]
        Labelled(samples.images[part], samples.labels[part]) for part in (train, held_out)
    )


def _num_right(container: bytes, samples: Labelled) -> int:
    """By the engine that the board runs it with."""
    unpacked = decode_container(container)
    engine = open_engine(container_engine(), unpacked.graph, unpacked.tensors, container=container)
    return evaluate(engine.logits(samples.images), samples.labels).num_correct
