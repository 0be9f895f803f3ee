"""The loop's work on a Ray cluster. Nothing else in sigdca imports Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sigdca.distributed.environment import prepare_environment

if TYPE_CHECKING:
    from sigdca.distributed.executor import ClusterExecutor
    from sigdca.search import Study, StudyRecord
    from sigdca.storage import Store

JOURNAL = "optuna.journal"  # what Optuna knows of a study, in its folder

__all__ = ["JOURNAL", "connect", "run_search"]


@contextlib.contextmanager
def connect(
    address: str | None, num_workers: int, dashboard: bool = False
) -> Iterator[ClusterExecutor]:
    """Joins a Ray cluster, or starts one on this machine for as long as it is needed.

    Args:
        address: a Ray address (`host:6379`, `auto`); None takes RAY_ADDRESS, which `ray job
            submit` sets, and starts a cluster here if there is none.
        num_workers: a cluster started here has at least this many CPUs, so that a job gives the
            same result on a machine with fewer cores.
        dashboard: a cluster started here has Ray's pages.

    Yields:
        The executor that works there.

    Raises:
        SigdcaError: no cluster answers, or it refuses us.
    """
    address = prepare_environment(address)
    # Ray reads its environment when it is imported, so not before it is prepared.
    from sigdca.distributed.cluster import connected
    from sigdca.distributed.executor import ClusterExecutor

    with connected(address, num_workers, dashboard) as cluster:
        yield ClusterExecutor(cluster)


def run_search(
    executor: ClusterExecutor, study: Study, store: Store, tell: Callable[[str], None]
) -> StudyRecord:
    """Runs a study on a cluster, then EDGE TEST of what it has chosen.

    Args:
        executor: what `connect` gave.
        study: the study, which goes on from wherever its files stand.
        store: its folder.
        tell: hears what the study waits for, and what is tested, a line each.

    Returns:
        How it ended.

    Raises:
        SigdcaError: a fault on the way; what was done is kept.
    """
    from sigdca.distributed.proving import check_provable, prove_on_cluster
    from sigdca.distributed.search import search_on_cluster
    from sigdca.loop import forget_stale_proofs

    check_provable(study.job)
    forget_stale_proofs(study)
    outcome = search_on_cluster(executor.cluster, study, store, tell)
    if outcome.status == "done":
        prove_on_cluster(executor, study, outcome.why, tell)
    return outcome
