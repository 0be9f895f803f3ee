"""Among how many workers TEST is shared."""

from dataclasses import dataclass

import pytest

from sigdca.codec import Graph
from sigdca.distributed.testing import num_shares
from sigdca.job import DataSource
from sigdca.loop.executor import TestTask as Task


@dataclass(frozen=True)
class Servers:
    """What a cluster says of itself."""

    cpus: int
    gpus: int

    def num_cpus(self):
        return self.cpus

    def num_gpus(self):
        return self.gpus


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "shares"), [(2, 16, 0, 2), (1, 16, 1, 16), (4, 2, 4, 4)]
)
def test_gpus_leave_the_cpus_to_test(workers, cpus, gpus, shares):
    graph = Graph((1, 2, 2), 1.0, ())
    task = Task(graph, {}, DataSource(source="mnist"), "torch", workers)
    assert num_shares(task, Servers(cpus, gpus)) == shares
