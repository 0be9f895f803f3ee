"""How images reach the device: the same ones in the same order, whichever way."""

import threading

import numpy as np
import pytest
import torch

from sigdca.training import InMemory, Place
from sigdca.training.feed import Direct, Resident, ahead, feed_of

DATA = InMemory(
    np.arange(50 * 12, dtype=np.uint16).astype(np.uint8).reshape(50, 3, 2, 2),
    np.arange(50, dtype=np.uint8) % 10,
)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_resident_data_set_gives_the_batches_that_are_read(rank):
    place = Place(rank, 2)
    read = list(Direct(DATA, place).batches(3, 8, 7))
    kept = list(Resident(DATA, place).batches(3, 8, 7))
    assert len(read) == 6
    for (images, labels), (others, classes) in zip(read, kept, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, classes)
        assert images.dtype == others.dtype == torch.uint8
        assert labels.dtype == classes.dtype == torch.int64


def test_a_processor_takes_them_as_they_are_read():
    assert isinstance(feed_of(DATA, Place()), Direct)


def test_items_come_in_order_and_some_are_ready_before_they_are_asked_for():
    third = threading.Event()

    def items():
        for number in range(5):
            if number == 2:
                third.set()
            yield number

    changed = ahead(items(), lambda item: item * 10)
    assert next(changed) == 0
    assert third.wait(10)
    assert list(changed) == [10, 20, 30, 40]


def test_what_goes_wrong_in_the_thread_is_raised_here():
    def items():
        yield 1
        raise OSError("the disk is gone")

    changed = ahead(items(), lambda item: item)
    assert next(changed) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(changed)


def test_the_thread_ends_with_an_iterator_that_is_closed_early():
    before = set(threading.enumerate())
    changed = ahead(iter(range(1000)), lambda item: item)
    assert next(changed) == 0
    (thread,) = set(threading.enumerate()) - before
    changed.close()
    assert not thread.is_alive()
