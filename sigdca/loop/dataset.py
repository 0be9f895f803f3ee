"""The job's data: a source's split, cut to the job's limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from sigdca.job import DataSource
from sigdca.training import SHARE_UNIT


def dataset_of(source: DataSource, split: str, at_most: int | None = None) -> Dataset:
    """The first images of a split, fetched if they are not on this machine."""
    limits = [limit for limit in (source.limit, at_most) if limit is not None]
    return load(source.source, split, min(limits, default=None))


def num_images(source: DataSource, split: str, at_most: int | None = None) -> int:
    """How many images the split has for this job, without loading them."""
    known = find_source(source.source)
    check_split(known, split)
    there = known.splits[split].num_images
    return min(limit for limit in (there, source.limit, at_most) if limit is not None)


def identity_of(source: DataSource) -> dict[str, Any]:
    """What of the data determines a result: the job's words, and which images an address holds.

    A setting that is not given is left out, so that a new one leaves old runs as they are.
    """
    left_out = {"site"} | ({"streaming"} if source.streaming is None else set())
    words = source.model_dump(exclude=left_out)
    if not is_address(source.source):
        return words
    splits = find_source(source.source).splits
    return words | {"splits": {name: split.sha256 for name, split in splits.items()}}


def placed(source: DataSource) -> DataSource:
    """The same data for a process that works in another folder."""
    return source.model_copy(update={"source": absolute(source.source)})


def is_streamed(source: DataSource) -> bool:
    """Whether TRAIN reads its images as a stream: as the job says, else for large data sets."""
    if source.streaming is not None or source.limit is not None:
        return bool(source.streaming)
    if not is_address(source.source):
        return False
    known = find_source(source.source)
    check_split(known, "train")
    return known.splits["train"].num_images * known.image_bytes > MAX_IN_MEMORY_BYTES


def parts_of(source: DataSource, split: str, start: int, end: int) -> Iterator[Dataset]:
    """Images [start, end) of a split, a few at a time: whole units of TEST, but for the last."""
    if is_address(source.source):
        yield from open_imported(source.source).parts(split, start, end, SHARE_UNIT)
        return
    whole = dataset_of(source, split)
    yield Dataset(whole.images[start:end], whole.labels[start:end])
