"""Latencies in fixed memory: a histogram whose buckets grow with the value."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate

_BITS = 5  # 32 buckets for each doubling: a bucket is at most 1/32 of its value wide
_DOUBLINGS = 27
MAX_US = (1 << (_BITS + _DOUBLINGS)) - 1  # 71 minutes


class Histogram:
    """Counts of latencies in whole microseconds. Never grows.

    Attributes:
        count: how many.
        total_us: their sum.
        max_us: the largest one, exactly.
    """

    def __init__(self) -> None:
        """Empty."""
        self._counts = array("Q", bytes(8 * len(_UPPER)))
        self.count = 0
        self.total_us = 0
        self.max_us = 0

    def add(self, value_us: int) -> None:
        """Counts one; below 0 counts as 0, beyond 71 minutes as that."""
        value_us = min(max(value_us, 0), MAX_US)
        shift = max(value_us.bit_length() - _BITS - 1, 0)
        self._counts[(shift << _BITS) + (value_us >> shift)] += 1
        self.count += 1
        self.total_us += value_us
        if value_us > self.max_us:
            self.max_us = value_us

    def quantile(self, share: float) -> float:
        """The value that this share is not above, to 1/32; 0.0 if there is none.

        Args:
            share: 0 to 1.
        """
        for index, seen in enumerate(accumulate(self._counts)):
            if seen and seen >= share * self.count:
                return float(min(_UPPER[index], self.max_us))
        return 0.0

    def at_most(self, value_us: int) -> int:
        """How many lie in buckets that are not above a value."""
        return sum(self._counts[: bisect_right(_UPPER, value_us)])


def _upper(index: int) -> int:
    """The largest value of a bucket."""
    shift = max((index >> _BITS) - 1, 0)
    return (((index - (shift << _BITS)) + 1) << shift) - 1


_UPPER = [_upper(index) for index in range((_DOUBLINGS + 1) << _BITS)]
