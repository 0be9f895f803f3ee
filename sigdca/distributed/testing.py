"""TEST and RETEST spread over workers; the sum of their counts is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
import ray.exceptions

from sigdca.codec import Graph
from sigdca.codec.graph import expected_tensors, infer_shapes
from sigdca.data import Dataset, is_address
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.faults import root_cause
from sigdca.distributed.sites import check_servers, servers_of
from sigdca.errors import SigdcaError
from sigdca.job import DataSource
from sigdca.loop.dataset import dataset_of, num_images, placed
from sigdca.loop.executor import TestTask
from sigdca.training import TestCounts, add_up, share_ranges

SHARE_OPERATIONS = 5e10  # some seconds of a core; to start a worker takes as long


def num_shares(task: TestTask, cluster: Cluster) -> int:
    """Among how many workers a test is shared.

    As the task says, if it does. Where the cluster has GPUs, TRAIN's workers are as many as these,
    but TEST computes on CPUs: then, too, among as many as have `SHARE_OPERATIONS` each.
    """
    if task.num_shares is not None and not cluster.num_gpus(task.source):
        return task.num_shares
    num_cpus = cluster.num_cpus(task.source)
    work = operations(task.graph) * num_images(task.source, "test")
    return max(task.num_shares or 1, min(num_cpus, math.ceil(work / SHARE_OPERATIONS)))


def operations(graph: Graph) -> int:
    """Multiplications and additions of one image in convolutions and FC layers."""
    shapes, tensors = infer_shapes(graph), expected_tensors(graph)
    return sum(
        2 * math.prod(tensors[f"{op.name}.weight"]) * math.prod(shape[1:])
        for op, shape in zip(graph.ops, shapes[1:], strict=True)
        if op.kind in ("conv", "fc")
    )


def evaluate_on_cluster(cluster: Cluster, tasks: Sequence[TestTask]) -> list[TestCounts]:
    """Tests each network on its workers (`num_shares`), all at the same time.

    Shares are whole batches of a fixed size and counts are integers, so the result, logits
    included, is the same for any number of workers. Each worker reads its own images where an
    imported data set lies; those of a built-in source are put on the cluster once for all.

    Raises:
        JobError: the images are bound to a site that has no server.
        SigdcaError: a worker failed; one line.
    """
    kept: dict[DataSource, Any] = {}
    shares = []
    for task in tasks:
        if task.source not in kept:
            check_servers(task.source)
            kept[task.source] = _kept(task.source)
        where = servers_of(task.source)
        worker = ray.remote(num_cpus=1, label_selector=where)(_evaluate_share)
        state = ray.put(dict(task.state))
        bare = replace(task, state={}, source=placed(task.source))
        ranges = share_ranges(num_images(task.source, "test"), num_shares(task, cluster))
        shares.append([worker.remote(bare, state, kept[task.source], *share) for share in ranges])
    try:
        return [add_up(ray.get(counts)) for counts in shares]
    except ray.exceptions.RayError as error:
        for share in [share for counts in shares for share in counts]:
            ray.cancel(share)
        if isinstance(cause := getattr(error, "cause", None), SigdcaError):
            raise cause from None
        raise SigdcaError(f"test: {root_cause(error)}") from error


def _kept(source: DataSource) -> Any:
    """The test images on the cluster; None where each worker reads its own."""
    if is_address(source.source):
        return None
    dataset = dataset_of(source, "test")
    return ray.put((dataset.images, dataset.labels))


def _evaluate_share(task: TestTask, state: Any, arrays: Any, start: int, end: int) -> TestCounts:
    from sigdca.loop.dataset import parts_of
    from sigdca.loop.work import evaluate_share

    task = replace(task, state=state)
    if arrays is None:
        return evaluate_share(task, parts_of(task.source, "test", start, end))
    images, labels = arrays
    return evaluate_share(task, [Dataset(images[start:end], labels[start:end])])
