"""The executor that does all work in this process: for tests, and where there is no Ray."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

import torch

from sigdca.edge.legs import Evidence, LegResult, run_test_leg
from sigdca.edge.train_data import train_where_it_lies
from sigdca.edge.train_leg import TrainLeg
from sigdca.loop.dataset import dataset_of, num_images, parts_of
from sigdca.loop.executor import (
    EdgeTask,
    EdgeTrainTask,
    Observer,
    TestTask,
    TrainOutcome,
    TrainTask,
)
from sigdca.loop.network import state_of
from sigdca.loop.work import evaluate_share, train_share
from sigdca.targets import load_target
from sigdca.training import InMemory, Place, TestCounts


class LocalExecutor:
    """Trains, tests and runs emulated legs here, one after the other, without checkpoints.

    It trains on a GPU where this machine has one, unless it is told otherwise.
    """

    def __init__(self, device: str | None = None) -> None:
        """Trains on `cuda` or `cpu`; None: on what there is."""
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def train(self, task: TrainTask, observer: Observer) -> TrainOutcome:
        """See `Executor.train`; this process does the work of all workers."""
        dataset = dataset_of(task.source, "train")
        model, figures = train_share(
            task,
            task.state,
            InMemory(dataset.images, dataset.labels),
            place=Place(device=self._device),
            resume=None,
            on_epoch=lambda figure, _: observer.epoch(asdict(figure)),
            on_step=lambda figure: observer.step(asdict(figure)),
            on_speed=observer.speed,
        )
        return TrainOutcome(state_of(model), tuple(asdict(figure) for figure in figures))

    def test(self, task: TestTask) -> TestCounts:
        """See `Executor.test`."""
        return self.tests([task])[0]

    def tests(self, tasks: Sequence[TestTask]) -> list[TestCounts]:
        """See `Executor.tests`."""
        return [
            evaluate_share(task, parts_of(task.source, "test", 0, num_images(task.source, "test")))
            for task in tasks
        ]

    def nodes_for(self, targets: Sequence[str], site: str | None = None) -> dict[str, Evidence]:
        """See `Executor.nodes_for`; there are none."""
        return {}

    def edge_tests(self, tasks: Sequence[EdgeTask]) -> list[LegResult]:
        """See `Executor.edge_tests`; no board is attached here, so the targets are emulated."""
        return [_edge_test(task) for task in tasks]

    def edge_trains(self, tasks: Sequence[EdgeTrainTask]) -> list[TrainLeg]:
        """See `Executor.edge_trains`; this machine stands for each target."""
        return [train_where_it_lies(task.model, task.data, task.config) for task in tasks]


def _edge_test(task: EdgeTask) -> LegResult:
    dataset = dataset_of(task.source, "test", task.num_samples)
    return run_test_leg(
        load_target(task.target),
        task.model,
        dataset.images,
        dataset.labels,
        reference_logits=task.reference_logits,
        emulated=True,
        num_processes=os.cpu_count() or 1,
        limits=task.limits,
        timeout_s=task.timeout_s,
    )
