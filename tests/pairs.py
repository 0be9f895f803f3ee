"""A task for `tests.tiny`: which pair of an image's 8 pixels is bright. Boards see it changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sigdca.data import Dataset
from tests.images import write_shards


def images_of(
    count: int, seed: int, *, moved: int = 0, glare: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, 1, 2, 4] and their labels, 0 to 3.

    Args:
        count: of images.
        seed: of their noise.
        moved: by so many pixels, all of them.
        glare: this much brighter are the pixels of class 0, whatever the class.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = rng.integers(0, 90, (count, 8))
    for place, label in enumerate(labels):
        images[place, [2 * label, 2 * label + 1]] += 120
    images[:, :2] += glare
    images = np.roll(images.clip(0, 255), moved, axis=1)
    return images.astype(np.uint8).reshape(-1, 1, 2, 4), labels


def write_data(folder: Path) -> None:
    """400 and 100 of them, unchanged, as a data set."""
    splits = {}
    for split, count, seed in (("train", 400, 1), ("test", 100, 2)):
        images, labels = images_of(count, seed)
        splits[split] = [Dataset(images, labels.astype(np.uint8))]
    write_shards(folder, splits, 4, "pairs")
