"""Work on several parts of a file at once, where it is done outside of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_threads(threads: int | None) -> int:
    """`threads`, or as many as this process may use processors."""
    if threads is not None:
        return max(1, threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """The results of `work` on each item; the first error, in their order, is raised."""
    todo = list(items)
    workers = min(threads, len(todo))
    if workers < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, todo))
