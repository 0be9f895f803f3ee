"""Whether servers see the folder of a run, before any trains in vain."""

import pytest
from ray.exceptions import RayError

from sigdca.distributed import seeing, sites
from sigdca.errors import SigdcaError
from sigdca.job import DataSource
from sigdca.storage import open_store

SOURCE = DataSource(source="mnist")


def node(name, site, cpus=2):
    about = {"Alive": True, "NodeID": name, "NodeManagerAddress": f"10.0.0.{name}"}
    return about | {"Labels": {"sigdca.io/site": site}, "Resources": {"CPU": cpus}}


class FakeRay:
    """Servers of which some see this machine's folders."""

    def __init__(self, nodes, blind=(), lost=()):
        self._nodes, self.asked, self._blind, self._lost = nodes, [], blind, lost

    def nodes(self):
        return self._nodes

    def remote(self, num_cpus, max_retries, scheduling_strategy):
        node = scheduling_strategy

        class Task:
            @staticmethod
            def remote(store, name):
                self.asked.append(node)
                return node, store.exists(name)

        return lambda _: Task

    def wait(self, tasks, num_returns, timeout):
        return tasks, []

    def get(self, task):
        node, found = task
        if node in self._lost:
            raise RayError
        return found and node not in self._blind


@pytest.fixture
def cluster(monkeypatch):
    def make(*given, **how):
        fake = FakeRay(*given, **how)
        monkeypatch.setattr(seeing, "ray", fake)
        monkeypatch.setattr(sites.ray, "nodes", fake.nodes)
        monkeypatch.setattr(seeing, "NodeAffinitySchedulingStrategy", lambda name, soft: name)
        monkeypatch.setattr(seeing, "_seen", set())
        return fake

    return make


def test_each_server_looks_once(cluster, tmp_path):
    head, board = node("1", "private", cpus=0), node("4", "edge")
    fake = cluster([head, node("2", "private"), node("3", "public"), board])
    store = open_store(str(tmp_path)).child("checkpoints")
    for _ in range(2):
        seeing.check_seen(store, SOURCE)
    assert fake.asked == ["2", "3"], "neither the head, which has no CPU, nor a board"
    assert store.names() == []


def test_a_server_that_does_not_see_it_is_named(cluster, tmp_path):
    cluster([node("1", "private"), node("2", "public")], blind=["2"])
    store = open_store(str(tmp_path)).child("checkpoints")
    told = rf"^storage: {tmp_path}/checkpoints is not to be seen on node 10\.0\.0\.2 \(there is"
    for _ in range(2):
        with pytest.raises(SigdcaError, match=told):
            seeing.check_seen(store, SOURCE)
    assert store.names() == []


def test_a_node_that_is_lost_meanwhile_is_no_fault_of_the_folders(cluster, tmp_path):
    cluster([node("1", "private"), node("2", "public")], lost=["2"])
    seeing.check_seen(open_store(str(tmp_path)), SOURCE)


def test_one_machine_sees_its_own(cluster, tmp_path):
    fake = cluster([node("1", "private")])
    seeing.check_seen(open_store(str(tmp_path)), SOURCE)
    assert fake.asked == []
