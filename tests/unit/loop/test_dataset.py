"""A job's images: the source's own, and those of other data sets behind them."""

import numpy as np
import pytest

from sigdca.errors import JobError
from sigdca.job import DataSource, parse_job
from sigdca.loop import check_job, dataset
from tests.images import numbers_of, write_data_set


@pytest.fixture
def source(tmp_path):
    """10 training images and 6 of test; then 4 and none; then 3 and 2."""
    counts = [{"train": [6, 4], "test": [6]}, {"train": [4]}, {"train": [3], "test": [2]}]
    paths = [str(tmp_path / f"set-{number}") for number in range(3)]
    for path, count in zip(paths, counts, strict=True):
        write_data_set(tmp_path / path, count)
    return DataSource(source=paths[0], more=paths[1:])


def test_more_images_come_behind_the_sources_own(source):
    train = dataset.dataset_of(source, "train")
    assert numbers_of(train.images) == [*range(10), *range(4), *range(3)]
    assert train.labels.tolist() == [*range(10), *range(4), *range(3)]
    assert train.labels.dtype == np.uint8
    assert numbers_of(dataset.dataset_of(source, "test").images) == [*range(6), 0, 1]
    assert numbers_of(dataset.dataset_of(source, "train", 12).images) == [*range(10), 0, 1]
    assert (dataset.num_images(source, "train"), dataset.num_images(source, "test", 7)) == (17, 7)


def test_a_limit_is_for_the_sources_own(source):
    limited = source.model_copy(update={"limit": 3})
    assert numbers_of(dataset.dataset_of(limited, "test").images) == [0, 1, 2, 0, 1]
    assert dataset.num_images(limited, "train") == 3 + 4 + 3


def test_any_range_of_a_split_is_read_across_the_sets(source, monkeypatch):
    monkeypatch.setattr(dataset, "SHARE_UNIT", 2)
    monkeypatch.setattr(dataset, "PART_BYTES", 8 * 4)
    whole = numbers_of(dataset.dataset_of(source, "train").images)
    for start, end in ((0, 17), (2, 12), (8, 15), (12, 17), (16, 17)):
        parts = list(dataset.parts_of(source, "train", start, end))
        assert [len(part) for part in parts[:-1]] == [4] * (len(parts) - 1)
        found = [number for part in parts for number in numbers_of(part.images)]
        assert found == whole[start:end]


def test_an_edge_test_of_fewer_images_sees_the_sources_own(source):
    for at_most, count in ((None, 8), (9, 8), (7, 6), (4, 4)):
        assert dataset.num_first(source, "test", at_most) == count
        first = dataset.first_of(source, "test", count)
        images = dataset.dataset_of(first, "test").images
        assert (images == dataset.dataset_of(source, "test", count).images).all()


def test_what_determines_a_result_is_which_images_they_are(source, tmp_path):
    bare = source.model_copy(update={"more": ()})
    assert "more" not in dataset.identity_of(bare)
    words = dataset.identity_of(source)
    moved = str(tmp_path / "moved")
    (tmp_path / "set-1").rename(moved)
    assert (
        dataset.identity_of(source.model_copy(update={"more": (moved, source.more[1])})) == words
    )
    assert dataset.identity_of(bare) != words
    assert not dataset.is_streamed(source)


def test_data_sets_that_do_not_fit_are_refused(source, tmp_path):
    job = "name: x\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {epochs: 1}\n"
    with pytest.raises(JobError, match=r"data.more: .*set-1 has images \(1, 2, 4\) of 10 classes"):
        check_job(parse_job(job, "x", [f"data.more=[{source.more[0]}]"]), "x")
    with pytest.raises(JobError, match=r"data: more takes addresses, such as \./flowers"):
        parse_job(job, "x", ["data.more=[flowers]"])
    with pytest.raises(JobError, match="more is for images in memory"):
        parse_job(job, "x", ["data={source: ./x, streaming: true, more: [./y]}"])
