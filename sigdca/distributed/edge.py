"""EDGE TEST: the test leg as a Ray actor, pinned by node label to a target."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError

from sigdca.distributed.cluster import EMULATED_LABEL, TARGET_LABEL, Cluster, emulating_node
from sigdca.edge.legs import LegResult, device_required, run_test_leg
from sigdca.errors import SigdcaError, TargetError
from sigdca.loop.dataset import dataset_of
from sigdca.loop.executor import EdgeTask
from sigdca.targets import Target, find_emulator, load_target

LEG_TIMEOUT_S = 3600.0
START_TIMEOUT_S = 120.0  # an actor whose node was cut off may stay pending for ever


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
        onnx_model: bytes,
        images: np.ndarray,
        labels: np.ndarray,
        reference_logits: np.ndarray,
        emulated: bool,
    ) -> LegResult:
        """See `sigdca.edge.legs.run_test_leg`."""
        return run_test_leg(
            target,
            onnx_model,
            images,
            labels,
            reference_logits=reference_logits,
            emulated=emulated,
            num_processes=os.cpu_count() or 1 if emulated else 1,
            timeout_s=LEG_TIMEOUT_S,
        )


def edge_test_on_cluster(cluster: Cluster, task: EdgeTask) -> LegResult:
    """Tests on the target's board if one has joined, else on a node that emulates it.

    Returns:
        The leg's result; `device-required`, with the reason, where neither can be had.
    """
    target = load_target(task.target)
    with contextlib.ExitStack() as stack:
        labels = cluster.node_for(target.name)
        if labels is None:
            try:
                find_emulator(target)
                cpus = os.cpu_count() or 1
                labels = stack.enter_context(emulating_node(cluster, target.name, cpus))
            except (TargetError, SigdcaError) as error:
                return device_required(target, str(error))
        return _run_leg(task, target, emulated=labels.get(EMULATED_LABEL) == "true")


def _run_leg(task: EdgeTask, target: Target, *, emulated: bool) -> LegResult:
    dataset = dataset_of(task.source, "test").head(task.num_samples)
    actor = ray.remote(num_cpus=1, label_selector={TARGET_LABEL: target.name})(TestLeg)
    leg = actor.remote()
    try:
        ray.get(leg.ready.remote(), timeout=START_TIMEOUT_S)
        result: LegResult = ray.get(
            leg.test.remote(
                target,
                task.onnx_model,
                dataset.images,
                dataset.labels,
                task.reference_logits,
                emulated,
            ),
            timeout=LEG_TIMEOUT_S + START_TIMEOUT_S,
        )
        return result
    except GetTimeoutError:
        return device_required(target, f"target '{target.name}': its test leg did not answer")
    except RayError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return device_required(target, f"target '{target.name}': its test leg failed: {reason}")
    finally:
        ray.kill(leg)
