"""TEST and RETEST spread over workers; the sum of their counts is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import ray

from sigdca.distributed.cluster import SERVERS
from sigdca.loop.dataset import dataset_of
from sigdca.loop.executor import TestTask
from sigdca.training import TestCounts, share_ranges


def evaluate_on_cluster(task: TestTask) -> TestCounts:
    """Tests on `task.num_shares` workers.

    Shares are whole batches of a fixed size and counts are integers, so the result, logits
    included, is the same for any number of workers.
    """
    dataset = dataset_of(task.source, "test")
    state = ray.put(dict(task.state))
    bare = replace(task, state={})
    worker = ray.remote(num_cpus=1, label_selector=SERVERS)(_evaluate_share)
    shares = [
        worker.remote(bare, state, dataset.images[start:end], dataset.labels[start:end])
        for start, end in share_ranges(len(dataset), task.num_shares)
    ]
    counts: list[TestCounts] = ray.get(shares)
    return TestCounts(
        sum(share.num_correct for share in counts),
        np.concatenate([share.logits for share in counts]),
    )


def _evaluate_share(
    task: TestTask, state: Any, images: np.ndarray, labels: np.ndarray
) -> TestCounts:
    from sigdca.loop.work import evaluate_share

    return evaluate_share(replace(task, state=state), images, labels)
