"""TEST spread over real Ray workers adds up to TEST in one process."""

import numpy as np
import pytest

from sigdca.data import imported
from sigdca.errors import EngineError, FormatError
from sigdca.job import DataSource
from sigdca.loop import LocalExecutor, TestTask
from sigdca.loop.network import graph_of, initial_model, state_of
from tests.images import write_data_set


@pytest.mark.parametrize("engine", ["native", "torch", "onnxruntime"])
@pytest.mark.parametrize("num_shares", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_counts_and_bits(
    executor, job, initial, engine, num_shares
):
    graph, state = initial
    alone = LocalExecutor().test(TestTask(graph, state, job.data, engine, 1))
    spread = executor.test(TestTask(graph, state, job.data, engine, num_shares))
    assert spread.num_samples == 2000
    assert spread.num_correct == alone.num_correct
    assert np.array_equal(spread.logits.view(np.uint32), alone.logits.view(np.uint32))


@pytest.fixture
def numbered(job, tmp_path):
    """A network for the images of a data set with odd shards, which parts cut anew."""
    write_data_set(tmp_path, {"train": [1], "test": [600, 1, 249, 410, 77]}, num_classes=300)
    source = DataSource(source=str(tmp_path))
    job = job.model_copy(update={"model": "tests.cluster.nets:Small", "data": source})
    model = initial_model(job)
    return graph_of(job, model), state_of(model), source


@pytest.mark.parametrize("num_shares", [1, 3])
@pytest.mark.parametrize("limit", [None, 701])
def test_workers_read_their_own_images_where_a_data_set_lies(
    executor, numbered, monkeypatch, num_shares, limit
):
    graph, state, source = numbered
    source = source.model_copy(update={"limit": limit})
    spread = executor.test(TestTask(graph, state, source, "native", num_shares))
    monkeypatch.setattr(imported, "PART_BYTES", 300 * 8)
    alone = LocalExecutor().test(TestTask(graph, state, source, "native", 1))
    assert spread.num_samples == alone.num_samples == (limit or 1337)
    assert spread.num_correct == alone.num_correct
    assert np.array_equal(spread.logits.view(np.uint32), alone.logits.view(np.uint32))


def test_many_candidates_at_once_give_what_each_gives_alone(executor, job, initial):
    graph, state = initial
    candidates = [
        {name: (value * scale).astype(np.float32) for name, value in state.items()}
        for scale in (1.0, 0.5, -1.0)
    ]
    tasks = [TestTask(graph, candidate, job.data, "native", 2) for candidate in candidates]
    together = executor.tests(tasks)
    for task, counts in zip(tasks, together, strict=True):
        alone = LocalExecutor().test(task)
        assert counts.num_correct == alone.num_correct
        assert np.array_equal(counts.logits, alone.logits)
    assert len({counts.logits.tobytes() for counts in together}) == 3


def test_what_a_worker_finds_wrong_is_one_line_here(executor, initial, numbered):
    graph, state, source = numbered
    with pytest.raises(EngineError, match=r"images must be uint8 \[n, 1, 28, 28\]"):
        executor.test(TestTask(*initial, source, "native", 2))
    shard = f"{source.source}/test/part-00003.parquet"
    with open(shard, "r+b") as file:
        file.truncate(100)
    with pytest.raises(FormatError, match=r"part-00003\.parquet: damaged"):
        executor.test(TestTask(graph, state, source, "native", 2))
