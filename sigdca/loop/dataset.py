"""The job's data: a source's split, cut to the job's limit."""

from __future__ import annotations

from sigdca.data import SOURCES, Dataset, load
from sigdca.job import DataSource


def dataset_of(source: DataSource, split: str) -> Dataset:
    """The images and labels of a split, fetched if they are not on this machine."""
    dataset = load(source.source, split)
    return dataset if source.limit is None else dataset.head(source.limit)


def num_images(source: DataSource, split: str, at_most: int | None = None) -> int:
    """How many images the split has for this job, without loading them."""
    there = SOURCES[source.source].splits[split].num_images
    return min(limit for limit in (there, source.limit, at_most) if limit is not None)
