"""What the loop asks of whoever does the work: train, test, test on a target.

`sigdca.distributed` answers on a Ray cluster, `sigdca.loop.local` in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sigdca.codec import Graph
from sigdca.edge.legs import LegResult
from sigdca.job import DataSource, Prune, Share, Train
from sigdca.job.schema import Optimisation
from sigdca.storage import Store
from sigdca.training import TestCounts

State = Mapping[str, np.ndarray]
OnEpoch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainTask:
    """TRAIN or RETRAIN.

    Attributes:
        key: names the task's checkpoints: the same key goes on from them.
        model: what `sigdca.models.build` takes.
        state: the weights to start from, float32 arrays named as in the state_dict.
        source: the data; its train split is used.
        config: epochs, optimizer, learning rate, augmentation.
        train: strategy, workers and batch size, which RETRAIN shares with TRAIN.
        retrained: the compression pass whose hook is at work; None for TRAIN.
        seed: this stage's own seed.
        checkpoints: where checkpoints lie.
    """

    key: str
    model: str
    state: State
    source: DataSource
    config: Optimisation
    train: Train
    retrained: Prune | Share | None
    seed: int
    checkpoints: Store


@dataclass(frozen=True)
class TrainOutcome:
    """The trained weights, and the figures of every epoch."""

    state: dict[str, np.ndarray]
    epochs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class TestTask:
    """TEST or RETEST: a graph and its weights, on the test split, by one engine."""

    __test__ = False  # not a pytest class

    graph: Graph
    state: State
    source: DataSource
    engine: str
    num_shares: int


@dataclass(frozen=True)
class EdgeTask:
    """EDGE TEST: an exported model on one target, against the server's logits."""

    target: str
    onnx_model: bytes
    source: DataSource
    num_samples: int
    reference_logits: np.ndarray


class Executor(Protocol):
    """Who does the work of the stages."""

    def train(self, task: TrainTask, on_epoch: OnEpoch) -> TrainOutcome:
        """Trains; calls `on_epoch` with each epoch's figures as they come."""
        ...

    def test(self, task: TestTask) -> TestCounts:
        """Tests; the result does not depend on how many workers share the images."""
        ...

    def edge_test(self, task: EdgeTask) -> LegResult:
        """Runs the target's test leg, on a board or emulated; says so if neither is there."""
        ...
