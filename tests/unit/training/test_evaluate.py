import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigdca.training import evaluate, share_ranges


class Lookup:
    """An engine whose logits are the image's first pixels."""

    name = "lookup"
    batch_size = 1

    def logits(self, images):
        return images[:, 0, 0, :3].astype(np.float32)


@given(num_images=st.integers(1, 3000), num_shares=st.integers(1, 20))
def test_shares_cover_all_images_once_in_whole_units(num_images, num_shares):
    ranges = share_ranges(num_images, num_shares)
    assert len(ranges) <= num_shares
    covered = [index for start, end in ranges for index in range(start, end)]
    assert covered == list(range(num_images))
    assert all(start % 250 == 0 for start, _ in ranges)


@pytest.mark.parametrize("num_shares", [1, 2, 3, 7])
def test_counts_of_shares_add_up_to_the_whole(num_shares):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (1100, 1, 4, 4)).astype(np.uint8)
    labels = rng.integers(0, 3, 1100)
    whole = evaluate(Lookup(), images, labels)
    shares = [
        evaluate(Lookup(), images[start:end], labels[start:end])
        for start, end in share_ranges(len(images), num_shares)
    ]
    assert sum(share.num_correct for share in shares) == whole.num_correct
    assert np.array_equal(np.concatenate([share.logits for share in shares]), whole.logits)
    assert whole.num_correct == (images[:, 0, 0, :3].argmax(1) == labels).sum()
