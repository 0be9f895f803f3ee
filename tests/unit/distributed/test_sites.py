"""Where trials go: the preferred site first, another when it is full, a bound job only home."""

from types import SimpleNamespace

import pytest
import ray

from sigdca.distributed import sites
from sigdca.distributed.sites import (
    ANY,
    avoiding,
    check_gpus,
    check_prices,
    check_servers,
    has_lost_servers,
    held_by_others,
    may_grow,
    next_site,
    selector_of,
    servers_of,
    slots,
    wait_for_servers,
)
from sigdca.errors import JobError
from sigdca.job import DataSource

END = "; Ctrl-C (of a submitted job: sigdca submitted stop) ends the wait"
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
    assert next_site(slots(ANYWHERE, 0.5), {}) == "public"
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
    assert told == ["no server is there yet: waiting until the cluster has started one" + END]
    rooms.clear()
    wait_for_servers(source, 1, told.append, 0.5)
    assert rooms == [([{"CPU": 1.0, "GPU": 0.5}], [servers_of(source)]), "given back"]


def test_a_wait_for_servers_can_be_ended(nodes, rooms):
    def check():
        raise KeyboardInterrupt

    nodes.clear()
    with pytest.raises(KeyboardInterrupt):
        wait_for_servers(ANYWHERE, 1, print, check=check)
    assert rooms[-1] == "given back"


@pytest.mark.parametrize(("source", "have"), [(ANYWHERE, 7), (HOME, 2)])
def test_servers_that_are_away_are_waited_for(nodes, rooms, source, have):
    told = []
    wait_for_servers(source, have, told.append)
    assert (told, rooms) == ([], []), "all are there"
    wait_for_servers(source, 8, told.append)
    assert rooms == [([{"CPU": 1.0}] * 8, [servers_of(source)] * 8), "given back"]
    site = "" if source.site is None else " of site private"
    line = f"the servers{site} have {have} CPUs for 8 workers: waiting until there are more"
    assert told == [line + END]


def test_nobody_waits_for_servers_of_a_site_that_has_none(nodes, rooms):
    del nodes[0]
    with pytest.raises(JobError, match=r"data\.site: private: no server of this cluster is of"):
        wait_for_servers(HOME, 2, print)
    assert rooms == []


def test_private_servers_first_then_public_ones(nodes):
    free = slots(ANYWHERE)
    assert next_site(free, {}) == "private"
    assert next_site(free, {"private": 1}) == "private"
    assert next_site(free, {"private": 2}) == "public"
    assert next_site(free, {"private": 2, "public": 5}) == ANY, "whichever has room first"
    assert next_site(slots(HOME), {"private": 2}) == ANY, "of those that its data may go to"
    assert next_site({}, {}) == ANY
    del nodes[0]
    assert next_site(slots(ANYWHERE), {}) == "public"


def test_what_others_hold_is_no_room(nodes, monkeypatch):
    def group(state, *bundles):
        return {
            "state": state,
            "bundles": dict(enumerate(found for found, _ in bundles)),
            "bundles_to_node_id": dict(enumerate(node for _, node in bundles)),
        }

    groups = {
        "ours01": group("CREATED", ({"CPU": 1.0}, "n2"), ({"CPU": 1.0, "GPU": 0.5}, "n4")),
        "old01": group("REMOVED", ({"CPU": 1.0}, "n2")),
        "theirs02": group("CREATED", ({"CPU": 1.0}, "n2"), ({"CPU": 1.0}, "n4")),
    }
    free = {"n4": {"CPU": 2.0, "GPU": 0.5}, "n1": {"CPU": 1.0}}  # a kind that is used up is absent
    context = SimpleNamespace(get_job_id=lambda: "01")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(sites, "placement_group_table", lambda: groups)
    monkeypatch.setattr(sites, "available_resources_per_node", lambda: free)
    held = held_by_others()
    assert held["n2"] == {"CPU": 1.0, "GPU": 0.0}
    assert held["n4"] == {"CPU": 1.0, "GPU": 0.0}
    assert slots(ANYWHERE, held=held) == {"private": 1, "public": 4}
    assert slots(ANYWHERE, 0.5, held=held) == {"public": 2}
    free["n4"]["GPU"] = 0.25
    assert slots(ANYWHERE, 0.5, held=held_by_others()) == {}, "another job has a share of the GPU"
    groups["ours01"]["bundles"][0] = {"CPU": 2.0}
    assert held_by_others()["n2"]["CPU"] == 0.0


def test_a_cluster_that_names_groups_of_nodes_may_grow(nodes):
    assert not may_grow()
    nodes[-1]["Labels"]["ray.io/node-group"] = "gpu-spot"
    assert not may_grow(), "it is gone"
    nodes[0]["Labels"]["ray.io/node-group"] = "head"
    assert may_grow()


def test_a_server_of_the_data_that_is_gone_may_come_back(nodes):
    away = DataSource(source="mnist", site="public")
    assert has_lost_servers(ANYWHERE)
    assert has_lost_servers(HOME)
    assert not has_lost_servers(away), "the images may not go there"
    nodes[-1]["Labels"]["sigdca.io/site"] = "edge"
    assert not has_lost_servers(ANYWHERE), "a board"
    del nodes[-1]
    assert not has_lost_servers(ANYWHERE)


def test_a_site_whose_only_server_has_no_cpu_gets_no_trial(nodes):
    nodes[0]["Resources"]["CPU"] = 0
    assert slots(ANYWHERE) == {"public": 5}
    assert next_site(slots(ANYWHERE), {}) == "public"


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
    nodes[0]["Resources"]["CPU"] = 0
    with pytest.raises(JobError, match="no server has a price"):
        check_prices({}, 5.0)


@pytest.mark.parametrize("text", ["", "1 EUR", "-1", "nan", "inf"])
def test_a_label_that_is_no_price_names_its_node(nodes, text):
    nodes[1]["Labels"]["sigdca.io/price"] = text
    told = r"node 10\.0\.0\.4: label sigdca\.io/price: must be a number, at least 0"
    with pytest.raises(JobError, match=told):
        check_prices({"public": 0.05}, None)
    nodes[1]["Alive"] = False
    check_prices({}, None)
