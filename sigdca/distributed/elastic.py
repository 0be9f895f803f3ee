"""How many workers a training has that may go on with fewer of them."""

from __future__ import annotations

import contextlib
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    NoopDecision,
    ScalingDecision,
)
from ray.train.v2._internal.execution.scaling_policy.autoscaling_coordinator_client import (
    AUTOSCALING_REQUESTS_GET_TIMEOUT_S,
)

from sigdca.distributed.sites import held_by_others, slots
from sigdca.job import DataSource


class ServersAlone(ElasticScalingPolicy):  # type: ignore[misc]  # Ray's classes are not typed here
    """As many workers as there is room for on the servers that may work on the data.

    Ray's own policy counts the CPUs of all nodes, boards and servers of another site as well, and
    then waits for ever for workers who may not go there.
    """

    def __init__(self, config: ScalingConfig, source: DataSource) -> None:
        """Counts for workers as in `config`, on nodes that may work on `source`."""
        super().__init__(config)
        self._source, self._is_running = source, False

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        return min(int(super()._count_possible_workers(reserved_resources)), self._room())

    def _get_reserved_resources(self) -> Any:
        """Of the cluster as it is now: Ray's coordinator looks at its nodes every 20 s.

        A training that begins or goes on right after nodes came or went would have the workers
        for which there was room before.
        """
        with contextlib.suppress(RayError):
            coordinator = self._autoscaling_coordinator
            answer = coordinator.get_reserved_resources.remote(self._requester_id, recompute=True)
            ray.get(answer, timeout=AUTOSCALING_REQUESTS_GET_TIMEOUT_S)
        return super()._get_reserved_resources()

    def make_decision_for_running_worker_group(self, *given: Any, **named: Any) -> ScalingDecision:
        """Whether there is room for more: not where others have taken it, maybe for hours.

        Ray's own policy knows of trainings alone.
        """
        self._is_running = True
        try:
            return super().make_decision_for_running_worker_group(*given, **named)
        finally:
            self._is_running = False

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Where there is no room for the fewest, they wait for it as a fixed number does."""
        decision = super().make_decision_for_non_running_worker_group()
        if not isinstance(decision, NoopDecision):
            return decision
        fewest, most = self.scaling_config.min_workers, self.scaling_config.max_workers
        if self._latest_reserved_resources is not None:
            return self._get_resize_decision(fewest)
        # Ray's coordinator has not answered in time, as on a busy machine.
        return self._get_resize_decision(max(fewest, min(most, self._room())))

    def _room(self) -> int:
        """For so many workers; while none runs, what is taken may be what those before had."""
        gpus = 1.0 if self.scaling_config.use_gpu else 0.0
        held = held_by_others() if self._is_running else {}
        return sum(slots(self._source, gpus, held=held).values())
