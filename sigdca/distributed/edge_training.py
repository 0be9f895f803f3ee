"""The train legs as Ray actors, each pinned by node labels to the board where its samples lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from sigdca.distributed.cluster import Cluster, selector
from sigdca.distributed.edge import START_TIMEOUT_S
from sigdca.distributed.faults import root_cause
from sigdca.distributed.leg import LEG_TIMEOUT_S, TrainLegActor
from sigdca.edge.train_leg import TrainLeg, without_delta
from sigdca.loop.executor import EdgeTrainTask
from sigdca.targets import load_target


@dataclass(frozen=True)
class _Leg:
    """A leg at work: the actor, the answers that it owes, and how long it may take."""

    target: str
    actor: Any
    ready: Any
    result: Any
    timeout_s: float


def edge_trains_on_cluster(cluster: Cluster, tasks: Sequence[EdgeTrainTask]) -> list[TrainLeg]:
    """Trains on each target's board, all at the same time. Deltas come back, never samples.

    Returns:
        Their results in the tasks' order; without a delta, and with the reason, where the board
        has not joined, was lost, or has nothing to train on.
    """
    legs: list[_Leg | TrainLeg] = []
    try:
        for task in tasks:
            legs.append(_start(cluster, task))
        return [_finish(leg) if isinstance(leg, _Leg) else leg for leg in legs]
    finally:
        for leg in legs:
            if isinstance(leg, _Leg):
                ray.kill(leg.actor)


def _start(cluster: Cluster, task: EdgeTrainTask) -> _Leg | TrainLeg:
    target = load_target(task.target)
    labels = cluster.node_for(target)
    if labels is None:
        return without_delta(f"target '{target.name}': no node of the cluster stands for it")
    actor = ray.remote(num_cpus=1, label_selector=selector(labels))(TrainLegActor).remote()
    ready = actor.ready.remote()  # an actor answers in the order in which it is asked
    result = actor.train.remote(task.model, task.data, task.config)
    return _Leg(target.name, actor, ready, result, task.config.time_limit_s or LEG_TIMEOUT_S)


def _finish(leg: _Leg) -> TrainLeg:
    try:
        ray.get(leg.ready, timeout=START_TIMEOUT_S)
        result: TrainLeg = ray.get(leg.result, timeout=leg.timeout_s + START_TIMEOUT_S)
        return result
    except GetTimeoutError:
        return without_delta(f"target '{leg.target}': its train leg did not answer")
    except RayError as error:
        why = root_cause(error)
        return without_delta(f"target '{leg.target}': its train leg failed: {why}")
