"""A Ray cluster with its own token for the tests of each module."""

import pytest
import torch

from sigdca.distributed import connect
from sigdca.job import parse_job
from sigdca.loop import TrainTask
from sigdca.loop.network import graph_of, initial_model, state_of
from sigdca.storage import open_store

JOB = """
name: cluster
model: lenet-300-100
data: {source: mnist, limit: 2000}
train: {workers: 2, epochs: 3, batch_size: 100, learning_rate: 0.1, augment: {shift: 0.05}}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9}, epochs: 2, learning_rate: 0.05}
    - share: {bits: 4, epochs: 1}
    - encode
"""


@pytest.fixture(scope="module")
def executor():
    with connect(None, 2) as found:
        yield found


@pytest.fixture(scope="session")
def job():
    return parse_job(JOB, "cluster.yaml")


@pytest.fixture(scope="session")
def initial(job):
    torch.manual_seed(0)
    model = initial_model(job)
    return graph_of(job, model), state_of(model)


@pytest.fixture(scope="session")
def make_task(job, initial):
    """Gives a task that keeps its checkpoints in a folder."""

    def make(folder):
        return TrainTask(
            key="task",
            model=job.model,
            state=initial[1],
            source=job.data,
            config=job.train,
            train=job.train,
            retrained=None,
            seed=5,
            checkpoints=open_store(str(folder / "checkpoints")),
        )

    return make


@pytest.fixture
def task(make_task, tmp_path):
    return make_task(tmp_path)
