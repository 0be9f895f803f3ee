"""Where trials go: the preferred site first, another when it is full, a bound job only home."""

from types import SimpleNamespace

import pytest
import ray

from sigdca.distributed import sites
from sigdca.distributed.sites import (
    avoiding,
    check_gpus,
    check_prices,
    check_servers,
    next_site,
    selector_of,
    servers_of,
    slots,
    wait_for_servers,
)
from sigdca.errors import JobError
from sigdca.job import DataSource

ANYWHERE, HOME = DataSource(source="mnist"), DataSource(source="mnist", site="private")


@pytest.fixture
def nodes(monkeypatch):
    def node(cpus, site=None, alive=True, gpus=0):
        labels = {} if site is None else {"sigdca.io/site": site}
        address = f"10.0.0.{cpus}"
        about = {"Alive": alive, "Labels": labels, "NodeManagerAddress": address}
        about |= {"NodeID": f"n{cpus}"}
        return about | {"Resources": {"CPU": cpus, "GPU": gpus}}

    found = [node(2, "private"), node(4, "public", gpus=1), node(1), node(8, "edge")]
    found.append(node(16, "private", alive=False))
    monkeypatch.setattr(ray, "nodes", lambda: found)
    return found


def test_boards_and_dead_nodes_do_not_count(nodes):
    assert slots(ANYWHERE) == {"private": 2, "public": 5}
    assert slots(HOME) == {"private": 2}


def test_shunned_nodes_get_no_trial(nodes):
    assert slots(ANYWHERE, shunned={"n4"}) == {"private": 2, "public": 1}
    assert slots(HOME, shunned={"n2"}) == {}
    assert avoiding([]) == {}
    assert avoiding(["n2", "n4"]) == {"ray.io/node-id": "!in(n2,n4)"}


def test_a_share_of_a_gpu_needs_one_on_the_same_server(nodes):
    assert slots(ANYWHERE, 0.5) == {"public": 2}
    assert slots(ANYWHERE, 0.1) == {"public": 4}, "four CPUs"
    assert next_site(slots(ANYWHERE, 0.5), {}, ANYWHERE) == "public"
    check_gpus(ANYWHERE, 0.5)
    check_gpus(HOME, 0.0)
    with pytest.raises(JobError, match=r"gpus_per_trial: 0\.5: no server of this cluster"):
        check_gpus(HOME, 0.5)


def test_data_bound_to_a_site_without_servers_is_refused(nodes):
    away = DataSource(source="mnist", site="public")
    for source in (ANYWHERE, HOME, away):
        check_servers(source)
    nodes[1]["Labels"]["sigdca.io/site"] = "hall"
    assert slots(away) == {"public": 5}, "whatever is neither private nor a board"
    del nodes[1:3]
    with pytest.raises(JobError, match=r"data\.site: public: no server of this cluster is of"):
        check_servers(away)
    nodes.clear()
    check_servers(away)  # a cluster may grow when work waits


@pytest.fixture
def rooms(monkeypatch):
    """What was asked of Ray; what was asked for is there the third time that it is looked for."""
    found = []

    def placement_group(bundles, bundle_label_selector):
        answers = iter([False, False, True])
        found.append((bundles, bundle_label_selector))
        return SimpleNamespace(wait=lambda _: next(answers))

    monkeypatch.setattr(sites, "placement_group", placement_group)
    monkeypatch.setattr(sites, "remove_placement_group", lambda _: found.append("given back"))
    return found


@pytest.mark.parametrize("source", [ANYWHERE, HOME])
def test_a_cluster_without_servers_is_asked_for_some(nodes, rooms, source):
    told = []
    wait_for_servers(source, 2, told.append)
    assert (told, rooms) == ([], []), "there are some"
    del nodes[1:3]
    nodes[0]["Resources"]["CPU"] = 0  # a head
    wait_for_servers(source, 2, told.append)
    assert rooms == [([{"CPU": 1.0}] * 2, [servers_of(source)] * 2), "given back"]
    assert told == ["no server is there yet: waiting until the cluster has started one"]


def test_nobody_waits_for_servers_of_a_site_that_has_none(nodes, rooms):
    del nodes[0]
    with pytest.raises(JobError, match=r"data\.site: private: no server of this cluster is of"):
        wait_for_servers(HOME, 2, print)
    assert rooms == []


def test_private_servers_first_then_public_ones(nodes):
    free = slots(ANYWHERE)
    assert next_site(free, {}, ANYWHERE) == "private"
    assert next_site(free, {"private": 1}, ANYWHERE) == "private"
    assert next_site(free, {"private": 2}, ANYWHERE) == "public"
    full = {"private": 2, "public": 5}
    assert next_site(free, full, ANYWHERE) == "private", "it waits where it is cheap"
    assert next_site(slots(HOME), {"private": 2}, HOME) == "private", "bound data waits at home"
    del nodes[0]
    assert next_site(slots(ANYWHERE), {}, ANYWHERE) == "public"
    assert next_site({}, {}, HOME) == "private", "no trial may run elsewhere"


def test_without_servers_trials_wait_where_the_head_is(nodes):
    for node in nodes:
        node["Resources"]["CPU"] = 0
    assert next_site(slots(ANYWHERE), {}, ANYWHERE) == "private"
    del nodes[0]
    assert next_site(slots(ANYWHERE), {}, ANYWHERE) == "public", "it brings servers of its site"
    del nodes[:2]
    assert next_site(slots(ANYWHERE), {}, ANYWHERE) == "private", "a board brings none"


def test_a_site_whose_only_server_has_no_cpu_gets_no_trial(nodes):
    nodes[0]["Resources"]["CPU"] = 0
    assert slots(ANYWHERE) == {"public": 5}
    assert next_site(slots(ANYWHERE), {"public": 5}, ANYWHERE) == "public"


def test_selectors_never_choose_a_board():
    assert servers_of(ANYWHERE) == {"sigdca.io/site": "!edge"}
    assert servers_of(HOME) == {"sigdca.io/site": "private"}
    bound = DataSource(source="mnist", site="public")
    assert servers_of(bound) == selector_of("public"), "unlabelled servers count as public"
    assert selector_of("private") == {"sigdca.io/site": "private"}
    assert selector_of("public") == {"sigdca.io/site": "!in(edge,private)"}


def test_a_limit_that_nothing_would_reach_is_refused(nodes):
    check_prices({}, None)
    with pytest.raises(JobError, match=r"search\.cost: 5 would never be spent: no server has a"):
        check_prices({"edge": 1.0}, 5.0)
    check_prices({"public": 0.05}, 5.0)
    nodes[0]["Labels"]["sigdca.io/price"] = "0.01"
    check_prices({}, 5.0)


@pytest.mark.parametrize("text", ["", "1 EUR", "-1", "nan", "inf"])
def test_a_label_that_is_no_price_names_its_node(nodes, text):
    nodes[1]["Labels"]["sigdca.io/price"] = text
    told = r"node 10\.0\.0\.4: label sigdca\.io/price: must be a number, at least 0"
    with pytest.raises(JobError, match=told):
        check_prices({"public": 0.05}, None)
    nodes[1]["Alive"] = False
    check_prices({}, None)
