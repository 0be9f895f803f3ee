"""The latency that several legs give: a warm-up, a median, no outliers."""

from dataclasses import replace

import pytest

from sigdca.edge.legs import MAX_REPEATS, device_required, median_of_legs
from sigdca.targets import load_target

BASE = device_required(load_target("atom-x5-e3940"), "told so")


@pytest.mark.parametrize(
    ("times", "latency_us", "num_legs"),
    [
        ([900.0, 10.0, 12.0, 11.0], 11.0, 4),  # the first one warms up
        ([1.0, 10.0, 50.0, 11.0, 12.0], 11.0, 5),  # the outlier is taken again
    ],
)
def test_the_median_of_what_is_no_outlier(times, latency_us, num_legs):
    left = list(times)
    result = median_of_legs(lambda: replace(BASE, latency_us=left.pop(0)))
    assert result.latency_us == latency_us
    assert len(times) - len(left) == num_legs


def test_a_board_that_never_settles_gives_its_better_half():
    asked = []

    def leg():
        asked.append(1)
        return replace(BASE, latency_us=10.0 ** len(asked))

    assert median_of_legs(leg).latency_us == 1e3
    assert len(asked) == 1 + 5 <= 1 + MAX_REPEATS


def test_a_leg_without_a_time_says_why():
    results = [replace(BASE, latency_us=5.0), replace(BASE, reason="the board is gone")]
    assert median_of_legs(lambda: results.pop(0)).reason == "the board is gone"
