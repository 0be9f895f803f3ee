"""What TRAIN reads: each image once, the same order for any number of processes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sigdca.training import InMemory, Place


def numbered(num):
    return InMemory(np.arange(num, dtype=np.uint8).reshape(num, 1, 1, 1), np.arange(num) % 10)


def taken(data, epoch, batch_size, rank, world_size):
    batches = data.batches(epoch, batch_size, 7, Place(rank, world_size))
    return [images.ravel().tolist() for images, _ in batches]


@given(
    num=st.integers(0, 250),
    world_size=st.integers(1, 6),
    each=st.integers(1, 20),
    epoch=st.integers(0, 3),
)
def test_no_image_comes_twice_and_all_processes_take_as_many_steps(num, world_size, each, epoch):
    data, batch_size = numbered(num), world_size * each
    shares = [taken(data, epoch, batch_size, rank, world_size) for rank in range(world_size)]
    steps = num // batch_size
    assert [len(share) for share in shares] == [steps] * world_size
    assert all(len(batch) == each for share in shares for batch in share)
    seen = [number for share in shares for batch in share for number in batch]
    assert len(set(seen)) == len(seen) == steps * batch_size
    alone = taken(data, epoch, batch_size, 0, 1)
    for step, batch in enumerate(alone):
        assert sorted(batch) == sorted(number for share in shares for number in share[step])


def test_the_order_is_frozen():
    """Runs go on from checkpoints of older versions: their order must not change."""
    assert taken(numbered(8), 0, 4, 0, 2) == [[0, 7], [4, 1]]
    assert taken(numbered(8), 0, 4, 1, 2) == [[6, 2], [5, 3]]
    assert taken(numbered(8), 1, 8, 0, 1) == [[6, 3, 1, 0, 2, 4, 7, 5]]


def test_labels_are_those_of_the_images_as_int64():
    for images, labels in numbered(40).batches(0, 8, 1, Place(1, 2)):
        assert labels.dtype == np.int64
        assert np.array_equal(labels, images.ravel() % 10)
