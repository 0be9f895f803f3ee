"""What the loop asks of whoever does the work: train, test, test on a target.

`sigdca.distributed` answers on a Ray cluster, `sigdca.loop.local` in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sigdca.codec import Graph
from sigdca.edge.legs import DEFAULT_TIMEOUT_S, Evidence, LegResult
from sigdca.edge.train_leg import TrainLeg
from sigdca.edge.train_plan import TrainConfig
from sigdca.job import DataSource, Retrained, Train
from sigdca.job.limits import Limits
from sigdca.job.recipe import Optimisation
from sigdca.storage import Store
from sigdca.training import SpeedChoice, TestCounts

State = Mapping[str, np.ndarray]


class Observer(Protocol):
    """Who hears of TRAIN or RETRAIN while it goes on, in the process that asked for it."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """An epoch is done: the fields of `sigdca.training.EpochFigures`."""

    def step(self, figures: Mapping[str, Any]) -> None:
        """How far it is, every second or so: the fields of `sigdca.training.StepFigures`."""

    def speed(self, choice: SpeedChoice) -> None:
        """What the job's way of computing gains, before the first epoch; not told of each."""

    def note(self, line: str) -> None:
        """What a person should know: that workers were lost, and where training goes on."""


class Unobserved:
    """Hears of it and does nothing."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""

    def speed(self, choice: SpeedChoice) -> None:
        """See `Observer`."""

    def note(self, line: str) -> None:
        """See `Observer`."""


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
        held: layers whose zeros stay besides, those of an earlier `prune`.
        job: the job's name, for those who watch.
        stage: which stage this is, for the same: as in `retrain-prune-2`.
    """

    key: str
    model: str
    state: State
    source: DataSource
    config: Optimisation
    train: Train
    retrained: Retrained | None
    seed: int
    checkpoints: Store
    held: tuple[str, ...] = ()
    job: str = ""
    stage: str = ""


@dataclass(frozen=True)
class TrainOutcome:
    """The trained weights, and the figures of every epoch."""

    state: dict[str, np.ndarray]
    epochs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class TestTask:
    """TEST or RETEST: a network on the test split, by one engine.

    Attributes:
        graph: its operators and shapes.
        state: its weights.
        source: the data.
        engine: a key of `sigdca.engines.ENGINES`.
        num_shares: among how many workers the images are shared; None: as many as there is work
            and room for.
        container: what `graph` and `state` were read from, for an engine that takes it as it is.
    """

    __test__ = False  # not a pytest class

    graph: Graph
    state: State
    source: DataSource
    engine: str
    num_shares: int | None
    container: bytes | None = None


@dataclass(frozen=True)
class EdgeTask:
    """EDGE TEST: a container on one target, against the server's logits.

    Attributes:
        target: what `sigdca.targets.load_target` takes.
        model: what the target's engine takes: the container itself, or an ONNX file.
        source: the data.
        num_samples: the first so many of its test images.
        reference_logits: of the same engine on the server.
        limits: what the leg may use; where they say nothing, the target's own hold.
        timeout_s: the leg is given up after this many seconds.
    """

    target: str
    model: bytes
    source: DataSource
    num_samples: int
    reference_logits: np.ndarray
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = DEFAULT_TIMEOUT_S


@dataclass(frozen=True)
class EdgeTrainTask:
    """The train leg: a container is tuned on a board, to samples that lie there.

    Attributes:
        target: what `sigdca.targets.load_target` takes.
        model: the container.
        data: what `sigdca.edge.train_data.labelled_samples` takes, on the board.
        config: how to train, and within which limits.
    """

    target: str
    model: bytes
    data: str
    config: TrainConfig


class Executor(Protocol):
    """Who does the work of the stages."""

    def train(self, task: TrainTask, observer: Observer) -> TrainOutcome:
        """Trains; tells the observer of it."""
        ...

    def test(self, task: TestTask) -> TestCounts:
        """Tests; the result does not depend on how many workers share the images."""
        ...

    def tests(self, tasks: Sequence[TestTask]) -> list[TestCounts]:
        """Tests several networks on the same images, at the same time where there is room."""
        ...

    def nodes_for(self, targets: Sequence[str], site: str | None = None) -> dict[str, Evidence]:
        """What nodes that are there now would prove of targets; one without a node is absent.

        Args:
            targets: their names or files.
            site: where the images must stay: nodes of another do not count.
        """
        ...

    def edge_tests(self, tasks: Sequence[EdgeTask]) -> list[LegResult]:
        """Runs targets' test legs, on boards or emulated; says so where neither is there."""
        ...

    def edge_trains(self, tasks: Sequence[EdgeTrainTask]) -> list[TrainLeg]:
        """Runs train legs where the samples lie; a delta comes back, or why there is none."""
        ...
