"""Test leg and train leg as Ray actors. What a board imports: no torch, and little else."""

from __future__ import annotations

import os

import numpy as np
import ray

from sigdca.edge.energy import with_energy
from sigdca.edge.legs import LegResult, median_of_legs, run_test_leg
from sigdca.edge.train_data import train_where_it_lies
from sigdca.edge.train_leg import TrainLeg
from sigdca.edge.train_plan import TrainConfig
from sigdca.job.limits import Limits
from sigdca.targets import Target


class TestLeg:
    """The test leg of one device; lives on that device's node."""

    __test__ = False  # not a pytest class

    def ready(self) -> str:
        """The id of the node that it runs on."""
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    def test(
        self,
        target: Target,
        model: bytes,
        images: np.ndarray,
        labels: np.ndarray,
        reference_logits: np.ndarray,
        emulated: bool,
        limits: Limits,
        timeout_s: float,
    ) -> LegResult:
        """See `sigdca.edge.legs.run_test_leg`."""
        return run_test_leg(
            target,
            model,
            images,
            labels,
            reference_logits=reference_logits,
            emulated=emulated,
            num_processes=os.cpu_count() or 1 if emulated else 1,
            limits=limits,
            timeout_s=timeout_s,
        )

    def measure(
        self,
        target: Target,
        model: bytes,
        images: np.ndarray,
        reference_logits: np.ndarray,
        emulated: bool,
        energy: bool,
    ) -> LegResult:
        """The leg several times on this board, outliers left out; see `median_of_legs`.

        With `energy`, its meter is read too; see `with_energy`. An emulation has no latency, so it
        runs the leg once.
        """
        labels = np.zeros(len(images), np.int64)  # nobody asks for the accuracy of noise
        result = median_of_legs(
            lambda: run_test_leg(
                target,
                model,
                images,
                labels,
                reference_logits=reference_logits,
                emulated=emulated,
                is_noise=True,
            )
        )
        return with_energy(result, target, model, images) if energy else result


class TrainLegActor:
    """The train leg of one device; lives on that device's node, where its samples lie."""

    def ready(self) -> str:
        """The id of the node that it runs on."""
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    def train(self, model: bytes, data: str, config: TrainConfig) -> TrainLeg:
        """See `sigdca.edge.train_data.train_where_it_lies`; no sample is given back."""
        return train_where_it_lies(model, data, config)
