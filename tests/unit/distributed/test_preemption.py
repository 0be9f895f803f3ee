import pytest

from sigdca.distributed.preemption import announced


@pytest.mark.parametrize(
    ("ranks", "deadline_ms", "line"),
    [
        ([1], 112_400, "the node of worker 1 will be taken away in 12 s"),
        ([0, 2], None, "the node of workers 0, 2 will be taken away soon"),
        ([0], 90_000, "the node of worker 0 will be taken away in 0 s"),
    ],
)
def test_it_is_said_whose_node_goes_and_when(ranks, deadline_ms, line):
    assert announced(ranks, deadline_ms, now_s=100.0) == line
