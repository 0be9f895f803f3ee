"""The loop's executor on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sigdca.data.importing import Plan, ShardResult
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.edge import edge_tests_on_cluster
from sigdca.distributed.edge_training import edge_trains_on_cluster
from sigdca.distributed.importing import import_on_cluster
from sigdca.distributed.testing import evaluate_on_cluster
from sigdca.distributed.training import train_on_cluster
from sigdca.edge.legs import Evidence, LegResult
from sigdca.edge.train_leg import TrainLeg
from sigdca.loop.executor import (
    EdgeTask,
    EdgeTrainTask,
    Observer,
    TestTask,
    TrainOutcome,
    TrainTask,
)
from sigdca.targets import load_target
from sigdca.training import TestCounts


class ClusterExecutor:
    """See `sigdca.loop.executor.Executor`."""

    def __init__(self, cluster: Cluster) -> None:
        """Works on `cluster`, which must stay connected."""
        self.cluster = cluster

    def train(self, task: TrainTask, observer: Observer) -> TrainOutcome:
        """By Ray Train."""
        return train_on_cluster(self.cluster, task, observer)

    def test(self, task: TestTask) -> TestCounts:
        """By Ray tasks on the servers."""
        return self.tests([task])[0]

    def tests(self, tasks: Sequence[TestTask]) -> list[TestCounts]:
        """By Ray tasks on the servers, which share one copy of the images."""
        return evaluate_on_cluster(self.cluster, tasks)

    def import_images(
        self, plan: Plan, on_shard: Callable[[ShardResult], None]
    ) -> list[ShardResult]:
        """By Ray Data on the servers; see `sigdca.distributed.importing`."""
        return import_on_cluster(plan, on_shard)

    def nodes_for(self, targets: Sequence[str], site: str | None = None) -> dict[str, Evidence]:
        """See `Executor.nodes_for`."""
        found = {name: self.cluster.evidence_of(load_target(name), site) for name in targets}
        return {name: evidence for name, evidence in found.items() if evidence is not None}

    def edge_tests(self, tasks: Sequence[EdgeTask]) -> list[LegResult]:
        """By an actor on each target's node."""
        return edge_tests_on_cluster(self.cluster, tasks)

    def edge_trains(self, tasks: Sequence[EdgeTrainTask]) -> list[TrainLeg]:
        """By an actor on each target's node."""
        return edge_trains_on_cluster(self.cluster, tasks)
