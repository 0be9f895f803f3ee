"""Dominance, fronts, hypervolume: against counting and against brute force."""

import itertools
import math

import numpy as np
import pytest

from sigdca.search import dominates, front, hypervolume, values_of
from sigdca.search.objectives import layers


def test_maximised_objectives_are_turned_and_gaps_are_none():
    objectives = {"accuracy": "max", "container_bytes": "min"}
    assert values_of(objectives, {"accuracy": 98.0, "container_bytes": 5}) == (-98.0, 5)
    assert values_of(objectives, {"accuracy": 98.0}) is None
    assert values_of(objectives, {"accuracy": math.nan, "container_bytes": 5}) is None


def test_dominance_needs_one_better_and_none_worse():
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((1, 2), (0, 9))


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
def test_the_front_is_what_nobody_dominates(num_objectives):
    rng = np.random.default_rng(num_objectives)
    points = [tuple(row) for row in rng.integers(0, 8, (60, num_objectives)).tolist()]
    kept = front(points)
    for place, point in enumerate(points):
        beaten = any(dominates(other, point) for other in points)
        twin = any(points[other] == point for other in kept if other < place)
        assert (place in kept) == (not beaten and not twin)


def test_layers_peel_one_front_after_the_other():
    points = [(0, 3), (3, 0), (1, 4), (4, 4), (0, 3)]
    assert layers(points) == [0, 0, 1, 2, 0]


def test_hypervolume_by_hand():
    assert hypervolume([(1.0,), (2.0,)], (5.0,)) == 4.0
    assert hypervolume([(1, 3), (2, 2), (3, 1)], (4, 4)) == 6
    assert hypervolume([(5, 1)], (4, 4)) == 0
    assert hypervolume([], (1, 1)) == 0


@pytest.mark.parametrize("num_objectives", [2, 3, 4])
def test_hypervolume_counts_the_cells_below(num_objectives):
    rng = np.random.default_rng(7)
    points = [tuple(row) for row in rng.integers(0, 6, (9, num_objectives)).tolist()]
    cells = itertools.product(range(6), repeat=num_objectives)
    counted = sum(
        any(all(a <= b for a, b in zip(point, cell, strict=True)) for point in points)
        for cell in cells
    )
    assert hypervolume(points, (6,) * num_objectives) == counted
