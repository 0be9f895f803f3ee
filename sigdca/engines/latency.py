"""How long one image takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.agreement import Logits

NUM_WARM_UPS = 20
NUM_RUNS = 200


class Runs(Protocol):
    """An engine with a model."""

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `sigdca.engines.Engine`."""
        ...


@runtime_checkable
class TakesTimes(Protocol):
    """An engine that takes its own times, as TensorRT: our calls are processes of trtexec."""

    def latency_ms(self) -> float:
        """The median of many runs at batch 1, without the warm-up."""
        ...


def measure_latency_us(engine: Runs, input_shape: tuple[int, ...]) -> float:
    """The median time of one image at batch 1, the call from Python included.

    Args:
        engine: what computes the logits.
        input_shape: (C, H, W).

    Returns:
        Microseconds, median of 200 runs after 20 warm-ups, or the engine's own figure. It holds
        for this machine alone.
    """
    image = np.random.default_rng(0).integers(0, 256, input_shape, dtype=np.uint8)
    return median_latency_us(engine, [image] * (NUM_WARM_UPS + NUM_RUNS), NUM_WARM_UPS)


def median_latency_us(
    engine: Runs, images: Iterable[NDArray[np.uint8]], num_warm_ups: int = 0
) -> float:
    """Wall time of one image, pixels in to logits out: the median over all images.

    Args:
        engine: what computes the logits; one that takes its own times is asked for these.
        images: each uint8 [C, H, W].
        num_warm_ups: so many of the images come first and do not count.

    Returns:
        Microseconds.
    """
    if isinstance(engine, TakesTimes):
        return 1000 * engine.latency_ms()
    times = []
    for number, image in enumerate(images):
        start = time.perf_counter_ns()
        engine.logits(image[np.newaxis])
        if number >= num_warm_ups:
            times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000
