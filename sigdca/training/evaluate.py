"""TEST: whole-number counts and all logits, the same for any number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sigdca.engines import Engine

SHARE_UNIT = 250  # a share is a multiple of this many images, and so of every engine's batch


@dataclass(frozen=True)
class TestCounts:
    """What testing some images gave; counts of several workers add up exactly.

    Attributes:
        num_correct: images whose largest logit is at their label.
        logits: float32 [n, K], in the images' order.
    """

    __test__ = False  # not a pytest class

    num_correct: int
    logits: np.ndarray

    @property
    def num_samples(self) -> int:
        """Images tested."""
        return len(self.logits)


def add_up(counts: Sequence[TestCounts]) -> TestCounts:
    """The counts of all shares together: integers, so the sum is exact.

    Args:
        counts: of at least one share, in the images' order.
    """
    return TestCounts(
        sum(share.num_correct for share in counts),
        np.concatenate([share.logits for share in counts]),
    )


def share_ranges(num_images: int, num_shares: int) -> list[tuple[int, int]]:
    """Splits images among at most `num_shares` workers: [start, end) of each share.

    An engine's sums may depend on how images are batched. Shares end where every engine's batches
    end, so that no logit depends on the number of shares.
    """
    units = np.arange(-(-num_images // SHARE_UNIT))
    shares = np.array_split(units, max(1, min(num_shares, len(units))))
    return [
        (int(share[0]) * SHARE_UNIT, min(num_images, (int(share[-1]) + 1) * SHARE_UNIT))
        for share in shares
        if len(share)
    ]


def evaluate(engine: Engine, images: np.ndarray, labels: np.ndarray) -> TestCounts:
    """Runs the engine over images and counts its hits.

    Args:
        engine: what computes the logits.
        images: uint8 [n, C, H, W].
        labels: [n].
    """
    logits = engine.logits(images)
    return TestCounts(int((logits.argmax(axis=1) == labels).sum()), logits)
