"""EDGE TEST: the test legs as Ray actors, each pinned by node labels to its target."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

from sigdca.distributed.cluster import (
    TARGET_LABEL,
    Cluster,
    emulating_nodes,
    is_emulated,
    selector,
)
from sigdca.distributed.faults import root_cause
from sigdca.distributed.labels import TEMPORARY_LABEL
from sigdca.distributed.leg import TestLeg
from sigdca.distributed.sites import selector_of, site_of
from sigdca.edge.legs import LegResult, device_required
from sigdca.errors import SigdcaError, TargetError
from sigdca.loop.dataset import dataset_of
from sigdca.loop.executor import EdgeTask
from sigdca.targets import Target, find_emulator, load_target

START_TIMEOUT_S = 120.0  # an actor whose node was cut off may stay pending for ever
GRACE_S = 60.0  # beyond a leg's own time limit: its images get there, its result comes back
LOOK_EVERY_S = 1.0  # whether the node of a leg that has not begun is still there
# A connection breaks at once when a node dies; the head needs a while to know which it was.
FATE_TIMEOUT_S = 15.0
RESUME = "run again with --resume when it is back"


@dataclass(frozen=True)
class _Leg:
    """A leg at work: where its images must stay, the actor, and the answers that it owes."""

    target: Target
    site: str | None
    actor: Any
    ready: Any
    result: Any
    timeout_s: float


class _LostLegError(SigdcaError):
    """A leg that gave no result, and why."""


def edge_tests_on_cluster(cluster: Cluster, tasks: Sequence[EdgeTask]) -> list[LegResult]:
    """Tests on each target's board if one has joined, else on a node that emulates it.

    All legs run at the same time, but for those of one board, which would disturb each other. A
    board that has left the cluster is emulated where that can be had; the result's reason says so.
    Images that are bound to a site go to no node of another: it counts as one that is not there.

    Returns:
        Their results in the tasks' order; `device-required`, with the reason, where neither board
        nor emulation can be had, where the board was lost while its leg ran, or where the images
        may not go to it.
    """
    legs = [(task, load_target(task.target)) for task in tasks]
    emulated, failed, absent = _to_emulate(cluster, legs)
    results: dict[int, LegResult] = {}
    with emulating_nodes(cluster, emulated, os.cpu_count() or 1) as not_up:
        failed |= not_up
        for places in _turns(cluster, legs):
            some = [legs[place] for place in places]
            results |= zip(places, _at_once(cluster, some, failed), strict=True)
    said = {name: f"; {why}, so this machine emulated it" for name, why in absent.items()}
    return [
        replace(result, reason=result.reason + said.get(result.target, ""))
        for _, result in sorted(results.items())
    ]


def _turns(cluster: Cluster, legs: Sequence[tuple[EdgeTask, Target]]) -> list[list[int]]:
    """The places of legs that run at the same time: of each board, one."""
    turns: list[list[int]] = []
    taken: Counter[str] = Counter()
    for place, (task, target) in enumerate(legs):
        labels = cluster.node_for(target, task.source.site) or {}
        board = labels.get(TARGET_LABEL, target.name)
        if taken[board] == len(turns):
            turns.append([])
        turns[taken[board]].append(place)
        taken[board] += 1
    return turns


def _at_once(
    cluster: Cluster, tasks: Sequence[tuple[EdgeTask, Target]], failed: Mapping[str, str]
) -> list[LegResult]:
    """The legs of different boards, and of emulations."""
    legs: list[_Leg | LegResult] = []
    try:
        for task, target in tasks:
            legs.append(
                device_required(target, failed[target.name])
                if target.name in failed
                else _start(cluster, task, target)
            )
        return [_finish(cluster, leg) if isinstance(leg, _Leg) else leg for leg in legs]
    finally:
        for leg in legs:
            if isinstance(leg, _Leg):
                ray.kill(leg.actor)


def _to_emulate(
    cluster: Cluster, legs: Sequence[tuple[EdgeTask, Target]]
) -> tuple[list[Target], dict[str, str], dict[str, str]]:
    """The targets that no node stands for.

    Also why some of those cannot be emulated either, and why the boards of others are none.
    """
    emulated, failed, absent = [], {}, {}
    for task, target in legs:
        site = task.source.site
        if cluster.node_for(target, site) is not None:
            continue
        elsewhere, lost = cluster.node_for(target), cluster.lost_node_of(target, site)
        why, until = "", ""
        if elsewhere is not None:
            why = f"its node is of site {site_of(elsewhere)}, and data.site keeps the images at "
            why += str(site)
        elif lost is not None:
            why, until = str(lost), f"; {RESUME}"
        try:
            find_emulator(target)
            emulated.append(target)
            if why:
                absent[target.name] = why
        except TargetError as error:
            failed[target.name] = _said(target, why + until) if why else str(error)
    return emulated, failed, absent


def _start(cluster: Cluster, task: EdgeTask, target: Target) -> _Leg | LegResult:
    site = task.source.site
    labels = cluster.node_for(target, site)
    if labels is None:
        return device_required(target, _gone(cluster, target, site))
    where = selector(labels)
    if cluster.is_own(labels):
        where |= {TEMPORARY_LABEL: cluster.mark}
    elif site is not None:
        where |= selector_of(site)
    dataset = dataset_of(task.source, "test", task.num_samples)
    actor = ray.remote(num_cpus=1, label_selector=where)(TestLeg).remote()
    ready = actor.ready.remote()  # an actor answers in the order in which it is asked
    result = actor.test.remote(
        target,
        task.model,
        dataset.images,
        dataset.labels,
        task.reference_logits,
        is_emulated(labels),
        task.limits,
        task.timeout_s,
    )
    return _Leg(target, site, actor, ready, result, task.timeout_s)


def _finish(cluster: Cluster, leg: _Leg) -> LegResult:
    try:
        node_id = _begun(cluster, leg)
        return replace(_result(cluster, leg, node_id), node=cluster.address_of(node_id))
    except _LostLegError as error:
        return device_required(leg.target, str(error))


def _begun(cluster: Cluster, leg: _Leg) -> str:
    """Waits until the leg has begun; gives the id of its node."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ray.wait([leg.ready], timeout=LOOK_EVERY_S)[0]:
        if cluster.node_for(leg.target, leg.site) is None:
            raise _LostLegError(_gone(cluster, leg.target, leg.site))
        if time.monotonic() > deadline:
            said = f"its test leg did not begin within {START_TIMEOUT_S:.0f} s"
            raise _LostLegError(_said(leg.target, said))
    try:
        return str(ray.get(leg.ready))
    except RayError as error:
        if _soon(lambda: cluster.node_for(leg.target, leg.site) is None):
            raise _LostLegError(_gone(cluster, leg.target, leg.site)) from error
        said = f"its test leg did not begin: {root_cause(error)}"
        raise _LostLegError(_said(leg.target, said)) from error


def _result(cluster: Cluster, leg: _Leg, node_id: str) -> LegResult:
    """Waits for the leg's result; no longer than the leg itself may take, and a while."""
    limit_s = leg.timeout_s + GRACE_S
    try:
        result: LegResult = ray.get(leg.result, timeout=limit_s)
        return result
    except TimeoutError as error:  # Ray's own is one
        where = cluster.address_of(node_id)
        limits = f"edge_test.timeout_s {leg.timeout_s:g} + {GRACE_S:g}"
        said = f"its test leg on {where} did not answer within {limit_s:g} s ({limits})"
        raise _LostLegError(_said(leg.target, said)) from error
    except RayError as error:
        if isinstance(error, ActorUnavailableError):
            _soon(lambda: cluster.loss_of(node_id) is not None)
        if (lost := cluster.loss_of(node_id)) is not None:
            said = f"{lost} while its test leg ran; {RESUME}"
        else:
            said = f"its test leg on {cluster.address_of(node_id)} failed: {root_cause(error)}"
        raise _LostLegError(_said(leg.target, said)) from error


def _gone(cluster: Cluster, target: Target, site: str | None) -> str:
    """What is said of a target that no node stands for any more."""
    lost = cluster.lost_node_of(target, site) or "its node has left the cluster"
    return _said(target, f"{lost} before its test leg began; {RESUME}")


def _soon(is_so: Callable[[], bool]) -> bool:
    """Whether the head finds something to be so within a while."""
    deadline = time.monotonic() + FATE_TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _said(target: Target, what: str) -> str:
    return f"target '{target.name}': {what}"
