"""Histograms: quantiles within a bucket of the truth, in memory that never grows."""

import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.edge.histogram import MAX_US, Histogram


def filled(values) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(int(value))
    return histogram


@settings(deadline=None)
@given(st.lists(st.integers(0, MAX_US), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_are_right_to_a_thirty_second(values, share):
    found = filled(values).quantile(share)
    true = sorted(values)[max(int(np.ceil(share * len(values))) - 1, 0)]
    assert true <= found <= true * (1 + 1 / 32) + 1


@settings(deadline=None)
@given(st.integers(0, MAX_US))
def test_every_value_has_a_bucket(value):
    histogram = filled([value])
    assert (histogram.count, histogram.total_us, histogram.max_us) == (1, value, value)
    assert histogram.quantile(0.5) == value, "never above the largest"
    assert histogram.at_most(MAX_US) == 1


def test_values_beyond_both_ends():
    histogram = filled([-5, MAX_US + 1, 2**80])
    assert (histogram.count, histogram.max_us) == (3, MAX_US)
    assert histogram.quantile(0.1) == 0


def test_at_most():
    histogram = filled(range(1, 101))
    assert [histogram.at_most(bound) for bound in (0, 10, 31, 1000)] == [0, 10, 31, 100]


def test_empty():
    assert Histogram().quantile(0.99) == 0
    assert Histogram().at_most(1000) == 0


def test_memory_does_not_grow():
    histogram = Histogram()
    before = sys.getsizeof(histogram._counts)
    for value in range(0, 10**7, 997):
        histogram.add(value)
    assert sys.getsizeof(histogram._counts) == before < 10_000
