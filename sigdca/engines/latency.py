"""How long one image takes on this machine."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sigdca.engines import Engine

NUM_WARM_UPS = 20
NUM_RUNS = 200


def measure_latency_us(engine: Engine, input_shape: tuple[int, ...]) -> float:
    """The median time of one image at batch 1, the call from Python included.

    Args:
        engine: what computes the logits.
        input_shape: (C, H, W).

    Returns:
        Microseconds, median of 200 runs after 20 warm-ups. It holds for this machine alone.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, *input_shape), dtype=np.uint8)
    times = []
    for number in range(NUM_WARM_UPS + NUM_RUNS):
        start = time.perf_counter_ns()
        engine.logits(image)
        if number >= NUM_WARM_UPS:
            times.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(times)
