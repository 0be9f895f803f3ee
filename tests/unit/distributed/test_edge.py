"""Where test legs run, by what Ray would answer."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from sigdca.data import Dataset
from sigdca.distributed import edge as module
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.edge import edge_tests_on_cluster
from sigdca.edge.legs import LegResult
from sigdca.job import DataSource
from sigdca.loop import EdgeTask

TX2, TX2_CPU, ATOM = "jetson-tx2", "jetson-tx2-cpu", "atom-x5-e3940"
SITE, TARGET, MARK = "sigdca.io/site", "sigdca.io/target", "sigdca.io/temporary"


class FakeRay:
    """Nodes that a test may change; legs that give their answer when they are asked for it."""

    def __init__(self):
        self.nodes, self.log, self.where = [], [], []

    def actor(self, **options):
        return lambda _kind: SimpleNamespace(remote=lambda: Leg(self.log, self.where, options))

    def get(self, answer, timeout=None):
        return answer() if callable(answer) else answer

    def kill(self, leg):
        self.log.append(("end", leg.target))


class Leg:
    """A test leg that is always right."""

    def __init__(self, log, where, options):
        self.log, self.where, self.options, self.target = log, where, options, None
        self.ready = SimpleNamespace(remote=lambda: "node")
        self.test = SimpleNamespace(remote=self._test)

    def _test(self, target, *_arguments):
        self.target = target.name
        self.log.append(("begin", target.name))
        self.where.append(self.options["label_selector"])
        return lambda: LegResult(target.name, "exact", "device", "", emulated=False)


@pytest.fixture
def fake(monkeypatch):
    found = FakeRay()
    monkeypatch.setattr(ray, "remote", found.actor)
    monkeypatch.setattr(ray, "get", found.get)
    monkeypatch.setattr(ray, "kill", found.kill)
    monkeypatch.setattr(ray, "wait", lambda asked, timeout: (asked, []))
    monkeypatch.setattr(ray, "nodes", lambda: found.nodes)
    images = Dataset(np.zeros((1, 1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    monkeypatch.setattr(module, "dataset_of", lambda *_: images)
    return found


def node(**labels):
    names = {"site": SITE, "target": TARGET, "emulated": "sigdca.io/emulated", "mark": MARK}
    found = {names[name]: value for name, value in labels.items()}
    return {"Alive": True, "NodeID": "node", "NodeManagerAddress": "10.0.0.7", "Labels": found}


def edge_tests(names, site=None, cluster=None):
    source = DataSource(source="mnist", site=site)
    tasks = [EdgeTask(name, b"", source, 1, np.zeros((1, 10), np.float32)) for name in names]
    return edge_tests_on_cluster(cluster or Cluster("a", False), tasks)


def test_images_that_are_bound_to_a_site_go_to_no_board_of_another(fake):
    fake.nodes = [node(site="edge", target=TX2)]
    (result,) = edge_tests([TX2], "private")
    assert result.verdict == "device-required"
    said = f"target '{TX2}': its node is of site edge, and data.site keeps the images at private"
    assert result.reason == said
    assert fake.log == [], "nothing was sent"
    (result,) = edge_tests([TX2])
    assert result.verdict == "exact"
    fake.nodes.append(node(site="private", target=TX2))
    (result,) = edge_tests([TX2], "private")
    assert (result.verdict, result.reason) == ("exact", "")
    assert fake.where[-1].items() >= {SITE: "private", TARGET: TX2}.items()


@pytest.fixture
def emulating(fake, monkeypatch):
    """This machine can emulate: what `emulating_nodes` does to the cluster."""

    @contextlib.contextmanager
    def nodes(cluster, targets, _num_cpus):
        before = list(fake.nodes)
        fake.nodes += [
            node(site="edge", target=target.name, emulated="true", mark=cluster.mark)
            for target in targets
        ]
        yield {}
        fake.nodes = before

    monkeypatch.setattr(module, "emulating_nodes", nodes)
    monkeypatch.setattr(module, "find_emulator", lambda _target: None)


def test_an_emulation_that_ends_with_another_run_is_not_used(fake, emulating):
    fake.nodes = [node(site="edge", target=TX2_CPU, emulated="true", mark="another run's")]
    cluster = Cluster("a", False)
    (result,) = edge_tests([TX2_CPU], cluster=cluster)
    assert (result.verdict, result.reason) == ("exact", "")
    assert fake.where == [{TARGET: TX2_CPU, "sigdca.io/emulated": "true", MARK: cluster.mark}]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], ""),
        ([node(site="edge", target=TX2)], "edge"),
        ([node(site="edge", target=TX2_CPU, emulated="true", mark="another run's")], ""),
        ([node(target=TX2_CPU, emulated="true")], "public"),
    ],
    ids=["alone", "a board", "an emulation of another run", "an emulation elsewhere"],
)
def test_this_machine_may_emulate_what_is_bound(fake, emulating, others, said):
    fake.nodes = list(others)
    cluster = Cluster("a", False)
    (result,) = edge_tests([TX2_CPU], "private", cluster)
    assert result.verdict == "exact"
    why = f"; its node is of site {said}, and data.site keeps the images at private, so this "
    assert result.reason == (f"{why}machine emulated it" if said else "")
    emulation = {TARGET: TX2_CPU, "sigdca.io/emulated": "true", MARK: cluster.mark}
    assert fake.where == [emulation], "and no other"


def test_a_board_has_one_leg_at_a_time_whatever_it_stands_for(fake):
    fake.nodes = [node(site="edge", target=TX2), node(site="edge", target=ATOM)]
    results = edge_tests([TX2, TX2_CPU, ATOM])
    assert [result.target for result in results] == [TX2, TX2_CPU, ATOM]
    steps = [(what, name) for what, name in fake.log if name != ATOM]
    assert steps == [("begin", TX2), ("end", TX2), ("begin", TX2_CPU), ("end", TX2_CPU)]
    assert fake.log[:2] == [("begin", TX2), ("begin", ATOM)], "boards do not wait for each other"
