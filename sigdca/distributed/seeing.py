"""Whether all servers see the folder of a run: their workers write and read checkpoints there."""

from __future__ import annotations

import uuid

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sigdca.distributed.faults import root_cause
from sigdca.distributed.sites import servers_on
from sigdca.errors import SigdcaError
from sigdca.job import DataSource
from sigdca.storage import Store

WAIT_S = 30.0  # for a node's answer; one that gives none is no fault of the folder's

_seen: set[tuple[str, frozenset[str]]] = set()


def check_seen(store: Store, source: DataSource) -> None:
    """Has each server that may work on the data look for a file that this process writes.

    Args:
        store: the folder.
        source: the data.

    Raises:
        SigdcaError: a server does not see it.
        StorageError: it cannot be written.
    """
    servers = servers_on(source)
    known = store.root, frozenset(servers)
    if len(ray.nodes()) < 2 or known in _seen:
        return
    name = f".seen-{uuid.uuid4().hex}"
    store.write(name, b"")
    try:
        asked = {
            ray.remote(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )(_sees).remote(store, name): address
            for node, address in servers.items()
        }
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=WAIT_S)
        for answer in answered:
            if why := _why_not(answer):
                raise SigdcaError(
                    f"storage: {store.root} is not to be seen on node {asked[answer]}{why}; give "
                    "a place that all servers share, such as /nfs/runs or s3://bucket/runs"
                )
    finally:
        store.remove_file(name)
    _seen.add(known)


def _why_not(answer: object) -> str:
    """What follows `is not to be seen` in a message; empty if it is."""
    try:
        return "" if ray.get(answer) else " (there is another folder, or none)"
    except RayTaskError as error:  # credentials, a mount that hangs
        return f" ({root_cause(error)})"
    except RayError:  # the node is lost just now: training tells that in its own way
        return ""


def _sees(store: Store, name: str) -> bool:
    return store.exists(name)
