"""Among how many workers TEST is shared."""

from dataclasses import dataclass

import pytest

from sigdca.distributed.testing import num_shares, operations
from sigdca.job import DataSource
from sigdca.loop.executor import TestTask as Task
from sigdca.models import build, trace


@dataclass(frozen=True)
class Servers:
    """What a cluster says of itself."""

    cpus: int
    gpus: int

    def num_cpus(self, source):
        return self.cpus

    def num_gpus(self, source):
        return self.gpus


def network(name, shape):
    return trace(build(name), shape, 1.0)


def test_operations_are_two_for_each_weight_at_each_place():
    graph = network("lenet-5", (1, 28, 28))
    convolutions = 500 * 24 * 24 + 25_000 * 8 * 8
    assert operations(graph) == 2 * (convolutions + 400_000 + 5_000)


@pytest.mark.parametrize(
    ("name", "shape", "workers", "cpus", "gpus", "shares"),
    [
        ("vgg-16-cifar", (3, 32, 32), 2, 16, 0, 2),
        ("vgg-16-cifar", (3, 32, 32), 1, 16, 1, 16),
        ("lenet-300-100", (1, 28, 28), 1, 16, 1, 1),
        ("lenet-300-100", (1, 28, 28), 4, 2, 4, 4),
        ("vgg-16-cifar", (3, 32, 32), None, 16, 0, 16),
        ("vgg-16-cifar", (3, 32, 32), None, 0, 0, 1),
        ("lenet-300-100", (1, 28, 28), None, 16, 0, 1),
    ],
)
def test_a_test_takes_as_many_cpus_as_it_is_told_or_has_work_for(
    name, shape, workers, cpus, gpus, shares
):
    task = Task(network(name, shape), {}, DataSource(source="mnist"), "torch", workers)
    assert num_shares(task, Servers(cpus, gpus)) == shares
