"""Nodes that are about to be taken away: a cloud's spot machines, a node that is drained."""

from __future__ import annotations

import time

import ray.train

from sigdca.distributed.news import News, ranked


class Preemptions:
    """Says of each node once, while it is still there, that it will go.

    Ray Train does the rest: when the node's time is over, it starts workers anew from the last
    checkpoint, where no node is about to go. That counts as no failure of the job.
    """

    def __init__(self, news: News, rank: int) -> None:
        """Tells `news` from rank 0."""
        self._news, self._rank = news, rank
        self._told: set[str] = set()

    def look(self) -> None:
        """Asks Ray Train; all workers must call this, for they agree on one answer."""
        found = ray.train.get_preemption_info()
        if found is None or self._rank != 0:
            return
        new = set(found.preempted_node_ids) - self._told
        if new:
            self._told |= new
            ranks = sorted({rank for node in new for rank in found.preempted_node_to_ranks[node]})
            self._news.note(announced(ranks, found.deadline_ms, time.time()))


def announced(ranks: list[int], deadline_ms: int | None, now_s: float) -> str:
    """What is said of a node that will be taken away.

    Args:
        ranks: of its workers.
        deadline_ms: when it goes, since 1970; None: nobody has said.
        now_s: the time now, since 1970.
    """
    when = "soon" if deadline_ms is None else f"in {max(0.0, deadline_ms / 1000 - now_s):.0f} s"
    return f"the node of {ranked(ranks)} will be taken away {when}"
