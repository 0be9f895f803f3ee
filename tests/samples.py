"""Samples of a board for tests."""

import numpy as np

from sigdca.edge.samples import NO_LABEL, Samples


def samples_of(numbers, labels=None, shape=(1, 4, 4), margin=0.25):
    """Samples whose images are noise, drawn from their numbers; `labels` are by number."""
    numbers = list(numbers)
    images = [np.random.default_rng(one).integers(0, 256, shape, np.uint8) for one in numbers]
    told = labels or {}
    return Samples(
        images=np.stack(images),
        times_s=np.array(numbers, np.float64),
        classes=np.array([one % 3 for one in numbers], np.int64),
        margins=np.full(len(numbers), margin, np.float32),
        labels=np.array([told.get(one, NO_LABEL) for one in numbers], np.int64),
        models=np.array(["ab" * 32] * len(numbers), np.str_),
    )
