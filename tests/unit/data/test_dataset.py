"""What a Dataset refuses."""

import numpy as np
import pytest

from sigdca.data import Dataset
from sigdca.errors import FormatError


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.uint8), r"\[n, C, H, W\]"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(3, np.uint8), r"got images \(2, 1, 8, 8\)"),
        (np.zeros((2, 1, 8, 8)), np.zeros(2, np.uint8), "must be uint8, .* got float64 and"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2), "uint8 or int64, got uint8 and float64"),
    ],
)
def test_shapes_and_types(images, labels, message):
    with pytest.raises(FormatError, match=message):
        Dataset(images, labels)


def test_digest_depends_on_pixels_labels_and_order():
    images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    labels = np.array([0, 1], np.uint8)
    digests = {
        Dataset(images, labels).sha256(),
        Dataset(images[::-1], labels).sha256(),
        Dataset(images, labels[::-1]).sha256(),
    }
    assert len(digests) == 3
