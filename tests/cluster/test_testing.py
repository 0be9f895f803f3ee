"""TEST spread over real Ray workers adds up to TEST in one process."""

import numpy as np
import pytest

from sigdca.loop import LocalExecutor, TestTask


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
