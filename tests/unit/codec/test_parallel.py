import os
import threading

import pytest

from sigdca.codec.parallel import in_order, num_threads


@pytest.mark.parametrize("threads", [1, 2, 7, 100])
def test_results_are_in_order(threads):
    assert in_order(lambda item: item * item, range(20), threads) == [n * n for n in range(20)]


@pytest.mark.parametrize("threads", [1, 4])
def test_takes_nothing_and_an_iterator(threads):
    assert in_order(str, [], threads) == []
    assert in_order(str, iter([1, 2]), threads) == ["1", "2"]


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_in_their_order_is_raised(threads):
    later = threading.Event()

    def work(item):
        if item == 1:
            if threads > 1:
                later.wait(5)
            raise ValueError(item)
        if item == 2:
            later.set()
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="1"):
        in_order(work, range(3), threads)


def test_one_thread_is_this_one():
    (name,) = in_order(lambda _: threading.current_thread(), [0], 8)
    assert name is threading.current_thread()


def test_how_many_threads():
    assert num_threads(5) == 5
    assert num_threads(0) == num_threads(-3) == 1
    assert num_threads(None) == len(os.sched_getaffinity(0))
