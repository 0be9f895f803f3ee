"""Which nodes stand for a target, by what Ray would answer."""

import math
from types import SimpleNamespace

import pytest
import ray

from sigdca.distributed.cluster import Cluster, _not_up
from sigdca.targets import load_target

TX2_CPU = load_target("jetson-tx2-cpu")
BOARD = {"sigdca.io/site": "edge", "sigdca.io/target": "jetson-tx2"}
EMULATION = {
    "sigdca.io/site": "edge",
    "sigdca.io/target": "jetson-tx2-cpu",
    "sigdca.io/emulated": "true",
}
CLUSTER = Cluster("a", False)
OWN = EMULATION | {"sigdca.io/temporary": CLUSTER.mark}


@pytest.fixture
def nodes(monkeypatch):
    found = []
    monkeypatch.setattr(ray, "nodes", lambda: found)
    return found


def node(labels, alive=True):
    about = {"NodeManagerAddress": "10.0.0.7", "DeathReasonMessage": "why"}
    return {"Alive": alive, "Labels": labels} | about


@pytest.mark.parametrize(
    ("labels", "anywhere", "private"),
    [
        ([BOARD], "device", None),
        ([BOARD | {"sigdca.io/site": "private"}], "device", "device"),
        ([EMULATION], "isa", None),
        ([EMULATION | {"sigdca.io/temporary": "another's"}], None, None),
        ([EMULATION | {"sigdca.io/temporary": "another's"}, OWN], "isa", "isa"),
        ([BOARD, OWN], "device", "isa"),
    ],
)
def test_where_images_must_stay_nodes_of_other_sites_stand_for_nothing(
    nodes, labels, anywhere, private
):
    nodes += map(node, labels)
    assert CLUSTER.evidence_of(TX2_CPU) == anywhere
    assert CLUSTER.evidence_of(TX2_CPU, "private") == private


def test_a_lost_board_of_another_site_would_be_of_no_use_when_it_is_back(nodes):
    nodes.append(node(BOARD, alive=False))
    assert CLUSTER.lost_node_of(TX2_CPU) is not None
    assert CLUSTER.lost_node_of(TX2_CPU, "private") is None


def test_an_emulation_is_up_when_it_is_itself_there(nodes):
    ended = SimpleNamespace(poll=lambda: 1, returncode=1)
    nodes += [node(BOARD), node(EMULATION)]
    assert _not_up(CLUSTER, TX2_CPU, ended, math.inf) == "ended with status 1"
    nodes.append(node(OWN))
    assert _not_up(CLUSTER, TX2_CPU, ended, math.inf) is None
