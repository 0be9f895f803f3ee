"""Where trials may run: private servers first, public ones when those are full; never a board."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.util.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from sigdca.distributed.labels import PRICE_LABEL, SITE_LABEL
from sigdca.errors import JobError
from sigdca.job import DataSource

PRIVATE = "private"
ANY = "any"  # site that the data may go to
NODE_LABEL, GROUP_LABEL = "ray.io/node-id", "ray.io/node-group"  # Ray's own
POLL_S = 1.0
END_OF_WAIT = "Ctrl-C (of a submitted job: sigdca submitted stop) ends the wait"


@dataclass(frozen=True)
class Place:
    """Where something ran, and what a CPU for an hour costs there."""

    node: str
    site: str
    price: float


def servers_of(source: DataSource) -> dict[str, str]:
    """Chooses the nodes that may work on this data: its own site's servers, or all servers."""
    return {SITE_LABEL: "!edge"} if source.site is None else selector_of(source.site)


def selector_of(site: str) -> dict[str, str]:
    """Chooses the servers of one site; those without a label count as public."""
    return {SITE_LABEL: PRIVATE if site == PRIVATE else f"!in(edge,{PRIVATE})"}


def avoiding(nodes: Sequence[str]) -> dict[str, str]:
    """Chooses the nodes that are none of these."""
    return {NODE_LABEL: f"!in({','.join(nodes)})"} if nodes else {}


def site_of(labels: Mapping[str, str]) -> str:
    """A node's site; what is neither private nor a board counts as public."""
    site = labels.get(SITE_LABEL, "public")
    return site if site in (PRIVATE, "edge") else "public"


def here(prices: Mapping[str, float]) -> Place:
    """The node that this process runs on.

    Args:
        prices: by site, for nodes whose labels do not say.
    """
    context = ray.get_runtime_context()
    labels = context.get_node_labels()
    site = labels.get(SITE_LABEL, "public")
    return Place(context.get_node_id(), site, _price(labels, prices) or 0.0)


def check_prices(prices: Mapping[str, float], limit: float | None) -> None:
    """What servers cost must be known, where a search is to end by it.

    Args:
        prices: by site, for nodes whose labels do not say.
        limit: what all trials may cost; None: as much as they like.

    Raises:
        JobError: a label is no price; or there is a limit that nothing would ever reach.
    """
    found = []
    for node in ray.nodes():
        labels, works = node["Labels"], node["Resources"].get("CPU", 0) >= 1
        if node["Alive"] and labels.get(SITE_LABEL) != "edge":
            price = _price(labels, prices)
            if price is None:
                raise JobError(
                    f"node {node['NodeManagerAddress']}: label {PRICE_LABEL}: must be a number, "
                    f"at least 0, got '{labels[PRICE_LABEL]}'"
                )
            found += [price] if works else []
    if limit is not None and not any(found):
        raise JobError(
            f"search.cost: {limit:g} would never be spent: no server has a price; label them "
            f"{PRICE_LABEL}=0.05 in the cluster file, or set search.prices"
        )


def check_servers(source: DataSource) -> None:
    """Data that is bound to a site needs a server there, or its work would wait for ever.

    Raises:
        JobError: the cluster has servers, but none of that site.
    """
    anywhere = source.model_copy(update={"site": None})
    if not slots(source) and slots(anywhere):
        raise JobError(
            f"data.site: {source.site}: no server of this cluster is of that site; label one "
            f"{SITE_LABEL}={source.site}, or leave out data.site"
        )


def wait_for_servers(
    source: DataSource,
    num_cpus: int,
    tell: Callable[[str], None],
    gpus: float = 0.0,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Waits for servers where there are too few: some may start when work waits, or come back.

    Args:
        source: the data, which may be bound to a site.
        num_cpus: how many CPUs to ask for.
        tell: hears that it waits.
        gpus: what to ask for of a GPU beside each CPU.
        check: called every second of the wait, which ends if it raises.

    Raises:
        JobError: the cluster has servers, but none of the data's site.
    """
    there = sum(slots(source).values())
    if there >= num_cpus:
        return
    check_servers(source)
    if there:
        have = "1 CPU" if there == 1 else f"{there} CPUs"
        site = "" if source.site is None else f" of site {source.site}"
        missing, event = f"the servers{site} have {have} for {num_cpus} workers", "there are more"
    else:
        missing, event = "no server is there yet", "the cluster has started one"
    tell(f"{missing}: waiting until {event}; {END_OF_WAIT}")
    where = [servers_of(source)] * num_cpus
    bundle = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    room = placement_group([bundle] * num_cpus, bundle_label_selector=where)
    try:
        while not room.wait(POLL_S):
            check()
    finally:
        remove_placement_group(room)


def check_gpus(source: DataSource, gpus: float) -> None:
    """Trials that ask for a GPU must find one.

    Raises:
        JobError: no server that may work on this data has one.
    """
    if gpus and not slots(source, gpus):
        raise JobError(
            f"search.gpus_per_trial: {gpus:g}: no server of this cluster that may work on the "
            "data has a GPU; 0 lets trials train on CPUs"
        )


def _price(labels: Mapping[str, str], prices: Mapping[str, float]) -> float | None:
    """Of a node: by its label, else by its site; None if the label is no price."""
    text = labels.get(PRICE_LABEL)
    if text is None:
        return prices.get(labels.get(SITE_LABEL, "public"), 0.0)
    try:
        price = float(text)
    except ValueError:
        return None
    return price if 0 <= price < math.inf else None


def may_grow() -> bool:
    """Whether servers may come when work waits: whatever starts nodes names their groups."""
    return any(node["Alive"] and GROUP_LABEL in node["Labels"] for node in ray.nodes())


def has_lost_servers(source: DataSource) -> bool:
    """Whether a server that may work on this data has left the cluster: it may come back."""
    return any(not node["Alive"] and _may_work(node, source) for node in ray.nodes())


def held_by_others() -> dict[str, dict[str, float]]:
    """What of each node's CPUs and GPUs is taken, but by no placement group of this job."""
    ours: dict[str, Counter[str]] = {}
    job = ray.get_runtime_context().get_job_id()
    for group, about in placement_group_table().items():
        if about["state"] == "CREATED" and group.endswith(job):
            for number, node in about["bundles_to_node_id"].items():
                ours.setdefault(node, Counter()).update(about["bundles"][number])
    free = available_resources_per_node()
    found = {}
    for node in ray.nodes():
        own, left = ours.get(node["NodeID"], Counter()), free.get(node["NodeID"], {})
        found[node["NodeID"]] = {
            kind: max(0.0, node["Resources"].get(kind, 0.0) - left.get(kind, 0.0) - own[kind])
            for kind in ("CPU", "GPU")
        }
    return found


def slots(
    source: DataSource,
    gpus: float = 0.0,
    shunned: Collection[str] = (),
    held: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, int]:
    """How many trials each site can run, of one CPU each: the preferred site first.

    A site without room is left out.

    Args:
        source: the data, which may be bound to a site.
        gpus: what a trial takes of a GPU. No trial is spread over two.
        shunned: the ids of nodes that do not count.
        held: what of a node's resources does not count, by its id.
    """
    found: dict[str, int] = {}
    for node in ray.nodes():
        if not node["Alive"] or node["NodeID"] in shunned:
            continue
        if _may_work(node, source):
            where = site_of(node["Labels"])
            left = Counter(node["Resources"])
            left.subtract(held.get(node["NodeID"], {}))
            room = int(left["CPU"])
            if gpus:
                room = min(room, int(left["GPU"]) * int(1 / gpus + 1e-9))
            if room:
                found[where] = found.get(where, 0) + room
    return dict(sorted(found.items()))


def servers_on(source: DataSource) -> dict[str, str]:
    """The servers that are there and may work on the data: their addresses by the nodes' ids."""
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and _may_work(node, source) and node["Resources"].get("CPU", 0) >= 1
    }


def _may_work(node: Mapping[str, Any], source: DataSource) -> bool:
    """Whether a node, alive or not, is a server whose site the data may go to."""
    where = site_of(node["Labels"])
    return where != "edge" and source.site in (None, where)


def next_site(free: Mapping[str, int], at_work: Mapping[str, int]) -> str:
    """Where the next trial goes: the first site with room, else whichever has some first.

    Args:
        free: what `slots` gave.
        at_work: trials that are at work, by site.
    """
    return next((site for site, room in free.items() if at_work.get(site, 0) < room), ANY)
