"""Who gets a GPU, and whether there is a CPU for each worker."""

from types import SimpleNamespace

import pytest
import ray
import torch
from torch import nn

from sigdca.distributed import training
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.training import scaling, train_on_cluster, unused_gpus
from sigdca.errors import JobError, SigdcaError
from sigdca.job import DataSource, Train
from sigdca.loop import Unobserved


@pytest.mark.parametrize(
    ("least", "most", "num_gpus", "use_gpu"),
    [(None, 1, 0, False), (None, 1, 1, True), (None, 2, 1, False), (1, 4, 2, True)],
)
def test_each_worker_has_a_gpu_where_there_are_enough_for_the_fewest(
    least, most, num_gpus, use_gpu
):
    train = Train(epochs=1, workers=most, workers_at_least=least)
    found = scaling(train, DataSource(source="mnist"), num_gpus)
    assert found.use_gpu is use_gpu
    assert found.num_workers == (most if least is None else (least, most))
    assert found.resources_per_worker == {"CPU": 1}


@pytest.mark.parametrize(
    ("least", "most", "num_gpus", "said"),
    [
        (None, 2, 0, None),
        (None, 2, 2, None),
        (None, 2, 1, "1 GPU for 2 workers; train.workers=1 would use it"),
        (3, 8, 2, "2 GPUs for 3 workers; train.workers_at_least=2 would use them"),
    ],
)
def test_too_few_gpus_are_not_left_alone_silently(least, most, num_gpus, said):
    train = Train(epochs=1, workers=most, workers_at_least=least)
    expected = None if said is None else f"training on CPUs: the cluster has {said}"
    assert unused_gpus(train, num_gpus) == expected
    assert not (said and scaling(train, DataSource(source="mnist"), num_gpus).use_gpu)


class Scaled(nn.Module):
    """Its constructor reads a value of a tensor."""

    def __init__(self):
        super().__init__()
        self.scale = float(torch.linspace(0.5, 1, 2)[0])
        self.conv = nn.Conv2d(1, 10, 28)

    def forward(self, x):
        return self.conv(x).flatten(1)


def test_a_constructor_may_read_values():
    source = DataSource(source="mnist")
    task = SimpleNamespace(model=f"{__name__}:Scaled", source=source, train=Train(epochs=1))
    training._check_strategy(task)
    task.train = Train(epochs=1, strategy="hybrid")
    with pytest.raises(JobError, match="hybrid is for networks with fully connected layers"):
        training._check_strategy(task)


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize(
    ("site", "said"),
    [
        (None, "train.workers: 64 asked, but the cluster has 10 CPUs"),
        ("private", "train.workers: 64 asked, but data.site is private, which has 2 CPUs"),
    ],
)
def test_workers_and_gpus_are_counted_where_the_data_may_go(monkeypatch, site, said, is_ours):
    def node(where, cpus, gpus):
        labels = {"sigdca.io/site": where}
        resources = {"CPU": cpus, "GPU": gpus}
        return {"Alive": True, "NodeID": "n", "Labels": labels, "Resources": resources}

    nodes = [node("private", 2, 0), node("public", 8, 4), node("edge", 4, 1)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    source = DataSource(source="mnist", site=site)
    assert Cluster("a", is_ours).num_gpus(source) == (4 if site is None else 0)
    task = SimpleNamespace(train=Train(epochs=1, workers=64, batch_size=64), source=source)
    with pytest.raises(JobError) as found:
        train_on_cluster(Cluster("a", is_ours), task, None)
    assert str(found.value) == said


def head(cpus, **labels):
    labels = {"sigdca.io/site": "public"} | labels
    resources = {"GPU": 1, "CPU": cpus}
    return {"Alive": True, "NodeID": "n", "Labels": labels, "Resources": resources}


@pytest.mark.parametrize(
    "nodes",
    [
        [head(0)],
        [head(1, **{"ray.io/node-group": "head"})],
        [head(1), head(1) | {"Alive": False}],
    ],
    ids=["none yet", "it grows", "one is away"],
)
def test_workers_are_not_refused_where_servers_may_come(monkeypatch, nodes):
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    asked = []

    def wait(source, num_cpus, tell):
        asked.append((source, num_cpus))
        raise SigdcaError("it waits")

    monkeypatch.setattr(training, "wait_for_servers", wait)
    monkeypatch.setattr(training, "_check_strategy", lambda task: None)
    train = Train(epochs=1, workers=4, workers_at_least=2)
    task = SimpleNamespace(train=train, source=DataSource(source="mnist"))
    with pytest.raises(SigdcaError, match="it waits"):
        train_on_cluster(Cluster("a", False), task, Unobserved())
    assert asked == [(task.source, 2)]
