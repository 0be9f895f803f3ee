"""One of several processes that train a network for some steps; `training.py` starts it.

As under `sigdca train`, which keeps a checkpoint of each epoch; here there is one.

Prints one JSON object: seconds of each step, bytes sent by TCP in the last steps, the most memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from sigdca.distributed.strategies import STRATEGIES
from sigdca.job.recipe import Optimisation
from sigdca.loop.work import make_repeatable
from sigdca.models import build
from sigdca.training import (
    Checkpoint,
    InMemory,
    Parallel,
    Place,
    Whole,
    save_checkpoint,
    train_,
)
from sigdca.training.meter import sent_bytes


class Clock:
    """A strategy's step, timed from one to the next; it adds no collective."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.sent: list[int] = []

    def wrapped(self, strategy: type[Parallel]) -> type[Parallel]:
        """The same strategy, which notes when each step ends."""
        clock = self

        class Timed(strategy):  # type: ignore[misc, valid-type]
            def step(self) -> None:
                super().step()
                clock.times.append(time.perf_counter())
                clock.sent.append(sent_bytes())

        return Timed


@contextmanager
def group(rank: int, world_size: int, meeting: str) -> Iterator[None]:
    """A process group, where there are several processes."""
    if world_size == 1:
        yield
        return
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def keep(rank: int, checkpoint: Checkpoint[Whole]) -> None:
    """Rank 0 writes the checkpoint, of which the others have parts."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder if rank == 0 else None, checkpoint)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--shape", type=int, nargs=3, required=True)
    parser.add_argument("--strategy", required=True, help="one of STRATEGIES, or alone")
    parser.add_argument("--stage", type=int, help="of deepspeed's ZeRO")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world-size", type=int, default=1)
    parser.add_argument("--meeting", default="env://", help="torch's init_method")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--parts", type=int, default=1, help="accumulation steps")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--precision", default="float32")
    return parser.parse_args()


def main() -> None:
    """Trains on random images."""
    chosen = parse()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    count = chosen.batch * chosen.steps
    images = rng.integers(0, 256, (min(count, 256), *chosen.shape)).astype(np.uint8)
    images = np.concatenate([images] * -(-count // len(images)))[:count]
    labels = rng.integers(0, 10, count).astype(np.uint8)
    clock = Clock()
    place = Place(chosen.rank, chosen.world_size)
    make_repeatable(place)
    options: dict[str, Any] = {}
    if chosen.stage is not None:
        options = {"zero_optimization": {"stage": chosen.stage}}
    with group(chosen.rank, chosen.world_size, chosen.meeting):
        strategy = STRATEGIES.get(chosen.strategy, Parallel)
        figures = train_(
            build(chosen.model),
            InMemory(images, labels),
            Optimisation(epochs=1, learning_rate=1e-3, optimizer=chosen.optimizer),
            input_scale=1 / 255,
            batch_size=chosen.batch,
            seed=0,
            precision=chosen.precision,
            accumulation_steps=chosen.parts,
            place=place,
            strategy=clock.wrapped(strategy),
            options=options,
            on_epoch=lambda _, checkpoint: keep(chosen.rank, checkpoint()),
        )
    found = {
        "step_s": np.diff(clock.times).tolist(),
        "sent_bytes": np.diff(clock.sent).tolist(),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "loss": figures[-1].loss,
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
