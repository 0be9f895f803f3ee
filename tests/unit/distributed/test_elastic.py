"""How many workers are started, of those that a job would like and those that it needs."""

from types import SimpleNamespace

import pytest
import ray
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    ResourceRequestPriority,
    _AutoscalingCoordinatorActor,
)
from ray.train._internal.autoscaling_coordinator_client import build_train_resource_request
from ray.train.v2.api import data_parallel_trainer
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from sigdca.distributed import elastic, training
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.elastic import ServersAlone
from sigdca.distributed.training import scaling
from sigdca.job import DataSource, Train
from sigdca.storage import open_store

ANYWHERE, HOME = DataSource(source="mnist"), DataSource(source="mnist", site="private")
TRAIN = Train(epochs=1, workers=4, workers_at_least=2)


def node(name, site, cpus, gpus=0):
    """The larger a node's memory, the sooner Ray counts on it."""
    resources = {"CPU": cpus, "GPU": gpus, "memory": cpus * 1e9}
    labels = {"sigdca.io/site": site}
    return {"Alive": True, "NodeID": name, "Labels": labels, "Resources": resources}


def decided(monkeypatch, nodes, source=ANYWHERE, num_gpus=0, answers=True):
    """How many workers are started, after Ray's own coordinator has been asked."""
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    coordinator = _AutoscalingCoordinatorActor(
        send_resources_request=lambda *_, **__: None, get_cluster_nodes=lambda: nodes
    )
    config = scaling(TRAIN, source, num_gpus)
    policy = ServersAlone(config, source)
    wanted, where = build_train_resource_request(config, config.max_workers)
    coordinator.request_resources(
        "a", wanted, 180, priority=ResourceRequestPriority.HIGH, label_selectors=where
    )
    reserved = coordinator.get_reserved_resources("a") if answers else None
    monkeypatch.setattr(policy, "_maybe_send_resource_request", lambda: None)
    monkeypatch.setattr(policy, "_get_reserved_resources", lambda: reserved)
    monkeypatch.setattr(policy, "_latest_reserved_resources", reserved)
    return policy.make_decision_for_non_running_worker_group().num_workers


def test_boards_are_no_room_for_workers(monkeypatch):
    nodes = [node("server", "private", 2), node("board", "edge", 4)]
    assert decided(monkeypatch, nodes) == 2
    assert decided(monkeypatch, [*nodes, node("other", "public", 1)]) == 3


def test_nor_are_servers_of_another_site(monkeypatch):
    nodes = [node("home", "private", 2), node("away", "public", 8)]
    assert decided(monkeypatch, nodes, HOME) == 2
    assert decided(monkeypatch, nodes) == 4


def test_each_worker_has_a_gpu_where_they_are_used(monkeypatch):
    nodes = [node("a", "public", 8, 3), node("board", "edge", 4, 1)]
    assert decided(monkeypatch, nodes, num_gpus=3) == 3


def test_the_fewest_wait_where_there_is_no_room_for_them(monkeypatch):
    nodes = [node("server", "private", 1), node("board", "edge", 4)]
    assert decided(monkeypatch, nodes) == 2


def test_room_is_what_there_is_now_and_not_when_the_coordinator_last_looked(monkeypatch):
    nodes = [node("one", "private", 1), node("two", "private", 1)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    coordinator = _AutoscalingCoordinatorActor(
        send_resources_request=lambda *_, **__: None, get_cluster_nodes=lambda: nodes
    )
    config = scaling(TRAIN, ANYWHERE, 0)
    policy = ServersAlone(config, ANYWHERE)
    policy._requester_id = "a"
    wanted, where = build_train_resource_request(config, config.max_workers)
    coordinator.request_resources(
        "a", wanted, 180, priority=ResourceRequestPriority.HIGH, label_selectors=where
    )
    remote = SimpleNamespace(get_reserved_resources=Remote(coordinator.get_reserved_resources))
    monkeypatch.setattr(ServersAlone, "_autoscaling_coordinator", remote)
    monkeypatch.setattr(policy, "_maybe_send_resource_request", lambda: None)
    monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)
    nodes[:] = [node(name, "private", 1) for name in ("two", "three", "four")]
    assert policy.make_decision_for_non_running_worker_group().num_workers == 3


def test_a_running_training_does_not_stop_for_room_that_others_have_taken(monkeypatch):
    nodes = [node("one", "private", 2), node("two", "private", 2)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(elastic, "held_by_others", lambda: {"two": {"CPU": 2.0, "GPU": 0.0}})
    policy = ServersAlone(scaling(TRAIN, ANYWHERE, 0), ANYWHERE)
    rooms = []
    monkeypatch.setattr(
        elastic.ElasticScalingPolicy,
        "make_decision_for_running_worker_group",
        lambda self, *_: rooms.append(self._room()),
    )
    policy.make_decision_for_running_worker_group(None, None)
    rooms.append(policy._room())
    assert rooms == [2, 4], "while none runs, what is taken may be its own workers' of before"


class Remote:
    def __init__(self, function):
        self.remote = function


@pytest.mark.parametrize(("cpus", "workers"), [(1, 2), (3, 3), (9, 4)])
def test_without_an_answer_all_for_whom_there_is_room_are_started(monkeypatch, cpus, workers):
    nodes = [node("server", "private", cpus), node("board", "edge", 4)]
    assert decided(monkeypatch, nodes, answers=False) == workers


@pytest.mark.parametrize(("least", "elastic"), [(None, False), (2, True)])
def test_training_counts_so_where_workers_may_come_and_go(monkeypatch, tmp_path, least, elastic):
    seen = {}

    def run(self, **settings):
        seen.update(settings)
        return SimpleNamespace(error=None)

    monkeypatch.setattr(DataParallelTrainer, "_initialize_and_run_controller", run)
    monkeypatch.setattr(data_parallel_trainer, "ObjectRefWrapper", lambda function: function)
    monkeypatch.setattr(ray, "nodes", lambda: [])
    train = Train(epochs=1, workers=4, workers_at_least=least)
    task = SimpleNamespace(
        key="key", train=train, source=HOME, checkpoints=open_store(str(tmp_path))
    )
    trainer = training._trainer(Cluster("a", False), task, {"task": task, "news": None}, {})
    trainer.fit()
    policy = seen["scaling_policy"]
    assert isinstance(policy, ServersAlone) is elastic
    assert (policy.scaling_config.min_workers, policy.scaling_config.max_workers) == (
        least or 4,
        4,
    )
