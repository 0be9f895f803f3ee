"""The job's data: a source's split, cut to the job's limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sigdca.data import (
    MAX_IN_MEMORY_BYTES,
    Dataset,
    absolute,
    check_split,
    find_source,
    is_address,
    load,
    open_imported,
)
from sigdca.data.shards import PART_BYTES, rows_of
from sigdca.job import DataSource
from sigdca.training import SHARE_UNIT


def dataset_of(source: DataSource, split: str, at_most: int | None = None) -> Dataset:
    """The first images of a split, fetched if they are not on this machine."""
    limits = [limit for limit in (source.limit, at_most) if limit is not None]
    found = [load(source.source, split, min(limits, default=None))]
    for address, count in _more(source, split):
        left = count if at_most is None else min(count, at_most - sum(map(len, found)))
        if left > 0:
            found.append(load(address, split, left))
    return _joined(found)


def num_images(source: DataSource, split: str, at_most: int | None = None) -> int:
    """How many images the split has for this job, without loading them."""
    total = _num_own(source, split) + sum(count for _, count in _more(source, split))
    return total if at_most is None else min(total, at_most)


def num_first(source: DataSource, split: str, at_most: int | None) -> int:
    """How many images a test of at most so many has: all, or the first of the source's own."""
    total = num_images(source, split)
    if at_most is None or at_most >= total:
        return total
    return min(at_most, _num_own(source, split))


def first_of(source: DataSource, split: str, count: int) -> DataSource:
    """The data of which the split has only the first images, as many as `num_first` gave."""
    if count == num_images(source, split):
        return source
    return source.model_copy(update={"limit": count, "more": ()})


def identity_of(source: DataSource) -> dict[str, Any]:
    """What of the data determines a result: the job's words, and which images an address holds.

    A setting that is not given is left out, so that a new one leaves old runs as they are.
    """
    left_out = {"site", "more"} | ({"streaming"} if source.streaming is None else set())
    words = source.model_dump(exclude=left_out)
    if source.more:
        words["more"] = [_digests(address) for address in source.more]
    if not is_address(source.source):
        return words
    return words | {"splits": _digests(source.source)}


def placed(source: DataSource) -> DataSource:
    """The same data for a process that works in another folder."""
    more = tuple(map(absolute, source.more))
    return source.model_copy(update={"source": absolute(source.source), "more": more})


def is_streamed(source: DataSource) -> bool:
    """Whether TRAIN reads its images as a stream: as the job says, else for large data sets."""
    if source.streaming is not None or source.limit is not None:
        return bool(source.streaming)
    if not is_address(source.source) or source.more:
        return False
    known = find_source(source.source)
    check_split(known, "train")
    return known.splits["train"].num_images * known.image_bytes > MAX_IN_MEMORY_BYTES


def parts_of(source: DataSource, split: str, start: int, end: int) -> Iterator[Dataset]:
    """Images [start, end) of a split, a few at a time: whole units of TEST, but for the last."""
    if not source.more:
        yield from _own_parts(source, split, start, end)
        return
    step = rows_of(PART_BYTES, find_source(source.source).image_bytes, SHARE_UNIT)
    for first in range(start, end, step):
        yield _joined(list(_across(source, split, first, min(end, first + step))))


def _own_parts(source: DataSource, split: str, start: int, end: int) -> Iterator[Dataset]:
    """Images of the source itself, as `parts_of`."""
    if is_address(source.source):
        yield from open_imported(source.source).parts(split, start, end, SHARE_UNIT)
        return
    whole = load(source.source, split, source.limit)
    yield Dataset(whole.images[start:end], whole.labels[start:end])


def _across(source: DataSource, split: str, start: int, end: int) -> Iterator[Dataset]:
    """Images [start, end), from all data sets that they lie in."""
    count = _num_own(source, split)
    if start < count:
        yield from _own_parts(source, split, start, min(end, count))
    for address, more in _more(source, split):
        first, last = max(start - count, 0), min(end - count, more)
        if first < last:
            yield from open_imported(address).parts(split, first, last, SHARE_UNIT)
        count += more


def _num_own(source: DataSource, split: str) -> int:
    known = find_source(source.source)
    check_split(known, split)
    there = known.splits[split].num_images
    return there if source.limit is None else min(there, source.limit)


def _more(source: DataSource, split: str) -> Iterator[tuple[str, int]]:
    """The other data sets that have the split, and how many images each."""
    for address in source.more:
        splits = find_source(address).splits
        if split in splits:
            yield address, splits[split].num_images


def _digests(address: str) -> dict[str, str]:
    return {name: split.sha256 for name, split in find_source(address).splits.items()}


def _joined(found: list[Dataset]) -> Dataset:
    if len(found) == 1:
        return found[0]
    labels = np.concatenate([one.labels.astype(found[0].labels.dtype) for one in found])
    return Dataset(np.concatenate([one.images for one in found]), labels)
