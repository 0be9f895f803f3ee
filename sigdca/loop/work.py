"""How one process does its share of a task: the same code for one process and for many."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import nn

from sigdca.compression import hook_for
from sigdca.data import Dataset, find_source
from sigdca.engines import open_engine
from sigdca.loop.executor import State, TestTask, TrainTask
from sigdca.loop.network import build_for
from sigdca.training import (
    Checkpoint,
    EpochFigures,
    Input,
    OnEpochEnd,
    OnSpeed,
    OnStep,
    Parallel,
    Place,
    Rows,
    TestCounts,
    add_up,
    evaluate,
    train_,
)


def train_share(
    task: TrainTask,
    state: State,
    data: Input,
    *,
    place: Place,
    strategy: type[Parallel] = Parallel,
    resume: Checkpoint[Rows] | None,
    on_epoch: OnEpochEnd,
    on_step: OnStep | None = None,
    on_speed: OnSpeed | None = None,
) -> tuple[nn.Module, list[EpochFigures]]:
    """One worker's share of TRAIN or RETRAIN; see `sigdca.training.train_` for the arguments.

    Returns:
        The trained network on the CPU, and the figures of every epoch.
    """
    make_repeatable(place, bool(task.train.compile))
    model = build_for(task.model, task.source.source)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    hook = None if task.retrained is None else hook_for(task.retrained, model, task.held)
    figures = train_(
        model,
        data,
        task.config,
        input_scale=find_source(task.source.source).input_scale,
        batch_size=task.train.batch_size,
        seed=task.seed,
        precision=task.train.precision,
        accumulation_steps=task.train.accumulation_steps or 1,
        compiled=bool(task.train.compile),
        label_smoothing=0.0 if hook is not None else task.train.label_smoothing or 0.0,
        hook=hook,
        place=place,
        strategy=strategy,
        options=task.train.deepspeed,
        resume=resume,
        on_epoch=on_epoch,
        on_step=on_step,
        on_speed=on_speed,
    )
    return model, figures


def make_repeatable(place: Place, compiled: bool = False) -> None:
    """The same job, seed and hardware give the same bits, as far as the device can do so.

    On a GPU, torch has the gradient of some operators (local response normalization, adaptive
    pooling) in one form alone, which is not repeatable; it is used all the same.

    Args:
        place: the device.
        compiled: torch.compile is to do so too.
    """
    on_gpu = place.device != "cpu"
    if on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's, says torch
    if compiled:  # this imports the compiler, for a second
        torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    else:
        torch.set_deterministic_debug_mode("warn" if on_gpu else "error")
    # Filling all memory that is allocated, against reads before writes, is a pass over it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def evaluate_share(task: TestTask, parts: Iterable[Dataset]) -> TestCounts:
    """One worker's share of TEST: its images through the task's engine, on one thread.

    Args:
        task: the network and its engine.
        parts: the images, in whole units of TEST but for the last, so that no logit depends on how
            they are parted.
    """
    engine = open_engine(
        task.engine, task.graph, dict(task.state), threads=1, container=task.container
    )
    return add_up([evaluate(engine, part.images, part.labels) for part in parts])
