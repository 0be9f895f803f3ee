"""EDGE TEST: the test legs as Ray actors, each pinned by node labels to its target."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from sigdca.distributed.cluster import Cluster, emulating_nodes, is_emulated, selector
from sigdca.distributed.leg import LEG_TIMEOUT_S, TestLeg
from sigdca.edge.legs import LegResult, device_required
from sigdca.errors import TargetError
from sigdca.loop.dataset import dataset_of
from sigdca.loop.executor import EdgeTask
from sigdca.targets import Target, find_emulator, load_target

START_TIMEOUT_S = 120.0  # an actor whose node was cut off may stay pending for ever


@dataclass(frozen=True)
class _Leg:
    """A leg at work: the actor, and the answers that it owes."""

    target: Target
    actor: Any
    ready: Any
    result: Any


def edge_tests_on_cluster(cluster: Cluster, tasks: Sequence[EdgeTask]) -> list[LegResult]:
    """Tests on each target's board if one has joined, else on a node that emulates it.

    All legs run at the same time.

    Returns:
        Their results in the tasks' order; `device-required`, with the reason, where neither board
        nor emulation can be had.
    """
    targets = [load_target(task.target) for task in tasks]
    emulated, failed = _to_emulate(cluster, targets)
    legs: list[_Leg | LegResult] = []
    with emulating_nodes(cluster, emulated, os.cpu_count() or 1) as not_up:
        failed |= not_up
        try:
            for task, target in zip(tasks, targets, strict=True):
                legs.append(
                    device_required(target, failed[target.name])
                    if target.name in failed
                    else _start(cluster, task, target)
                )
            return [_finish(leg) if isinstance(leg, _Leg) else leg for leg in legs]
        finally:
            for leg in legs:
                if isinstance(leg, _Leg):
                    ray.kill(leg.actor)


def _to_emulate(
    cluster: Cluster, targets: Sequence[Target]
) -> tuple[list[Target], dict[str, str]]:
    """The targets that no node stands for yet, and why some of them cannot be emulated."""
    emulated, failed = [], {}
    for target in targets:
        if cluster.node_for(target) is not None:
            continue
        try:
            find_emulator(target)
            emulated.append(target)
        except TargetError as error:
            failed[target.name] = str(error)
    return emulated, failed


def _start(cluster: Cluster, task: EdgeTask, target: Target) -> _Leg | LegResult:
    labels = cluster.node_for(target)
    if labels is None:
        return device_required(target, f"target '{target.name}': its node has left the cluster")
    dataset = dataset_of(task.source, "test", task.num_samples)
    actor = ray.remote(num_cpus=1, label_selector=selector(labels))(TestLeg).remote()
    ready = actor.ready.remote()  # an actor answers in the order in which it is asked
    result = actor.test.remote(
        target,
        task.model,
        dataset.images,
        dataset.labels,
        task.reference_logits,
        is_emulated(labels),
        task.limits,
    )
    return _Leg(target, actor, ready, result)


def _finish(leg: _Leg) -> LegResult:
    name = leg.target.name
    try:
        ray.get(leg.ready, timeout=START_TIMEOUT_S)
        result: LegResult = ray.get(leg.result, timeout=LEG_TIMEOUT_S + START_TIMEOUT_S)
        return result
    except GetTimeoutError:
        return device_required(leg.target, f"target '{name}': its test leg did not answer")
    except RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return device_required(leg.target, f"target '{name}': its test leg failed: {reason}")
