"""Who goes on to the next fidelity."""

import random

import pytest

from sigdca.search import Promotion


def going_on(points):
    """Those of the points that go on, each asked for when it is added, as a study does."""
    promotion = Promotion(2, 0.5)
    found = []
    for trial, (violation, values) in enumerate(points):
        promotion.add(trial, 0, violation, values)
        if promotion.goes_on(trial, 0):
            found.append(values)
    return found


def test_the_better_half_goes_on():
    promotion = Promotion(3, 0.5)
    for trial, values in enumerate([(1, 1), (2, 2), (3, 3), (4, 4)]):
        promotion.add(trial, 0, 0.0, values)
    assert [promotion.goes_on(trial, 0) for trial in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_half_of_one_front_goes_on_whatever_the_order(order):
    front = [(error, 20 - error) for error in range(20)]
    if order == "falling":
        front.reverse()
    elif order == "mixed":
        random.Random(0).shuffle(front)
    went = going_on([(0.0, at) for at in front])
    assert len(went) == 10
    assert min(went)[0] < 4, "one end of the front"
    assert max(went)[0] > 15, "the other end"


def test_half_of_what_cannot_be_told_apart_goes_on():
    assert len(going_on([(0.0, (1.0, 1.0))] * 12)) == 6


def test_a_front_that_misses_the_budget_everywhere_goes_on_at_each_of_its_ends():
    # At a low fidelity all miss the error; the smaller a file, the more it does.
    front = [(1.0 + small / 10, (1.8 + small / 10, 40 - small)) for small in range(20)]
    random.Random(1).shuffle(front)
    went = going_on(front)
    assert len(went) == 10
    assert sum(size <= 30 for _, size in went) >= 3


def test_one_objective_is_halved():
    went = []
    for seed in range(20):
        numbers = random.Random(seed).sample(range(1000), 40)
        went.append(going_on([(0.0, (at,)) for at in numbers]))
        assert (min(numbers),) in went[-1]
    assert 380 <= sum(map(len, went)) <= 460  # the first go on without anything to compare with


def test_what_is_ruined_comes_last_on_its_front():
    promotion = Promotion(2, 0.5)
    for trial, (violation, size) in enumerate([(90.0, 1), (2.0, 2), (2.0, 3), (1.0, 4)]):
        promotion.add(trial, 0, violation, (size,))
    assert [promotion.goes_on(trial, 0) for trial in range(4)] == [False, True, False, True]


def test_what_met_the_budget_later_shows_how_much_may_be_missed_before():
    promotion = Promotion(2, 0.5)
    for trial, (violation, size) in enumerate([(0.1, 9), (0.2, 8), (5.0, 3), (0.0, 10)]):
        promotion.add(trial, 0, violation, (size,))
    assert promotion.goes_on(0, 0)
    assert promotion.goes_on(1, 0)
    assert not promotion.goes_on(2, 0), "by far more than is usual"
    promotion.add(1, 1, 0.0, (4,))
    assert not promotion.goes_on(2, 0), "by more than twice as much as one that met it"
    promotion.add(4, 0, 4.0, (4,))
    promotion.add(4, 1, 0.0, (4,))
    promotion.add(6, 0, 0.3, (11,))  # there is room for one more
    promotion.add(5, 0, 4.5, (3.5,))
    assert promotion.goes_on(5, 0), "by hardly more than one that met it"


@pytest.mark.parametrize("stays", [False, True])
def test_the_place_of_one_that_stays_is_anothers(stays):
    promotion = Promotion(2, 0.5)
    promotion.add(0, 0, 0.0, (1, 2))
    assert promotion.goes_on(0, 0)
    if stays:
        promotion.stays(0, 0)
    promotion.add(1, 0, 0.0, (2, 1))
    assert promotion.goes_on(1, 0) == stays


def test_fidelities_do_not_mix():
    promotion = Promotion(2, 0.5)
    promotion.add(0, 0, 0.0, (0, 0))
    promotion.add(1, 1, 0.0, (9, 9))
    assert promotion.goes_on(1, 1)
    promotion.add(1, 1, 0.0, (8, 8))
    assert promotion.goes_on(1, 1), "a trial that runs again is not counted twice"


def test_by_what_is_expected_those_who_meet_the_budget_come_first():
    promotion = Promotion(2, 0.5)
    expected = {0: (0.0, (1.0, 9.0)), 1: (0.2, (2.0, 1.0)), 2: (0.0, (1.1, 9.5)), 4: (0.0, (1, 8))}
    for trial in range(4):
        promotion.add(trial, 0, 0.0, (1.0, 10.0 - trial))
    assert [promotion.goes_on(trial, 0, expected) for trial in (0, 1, 2)] == [True, False, True]
    assert promotion.goes_on(3, 0, expected) == promotion.goes_on(3, 0), "nothing is known of it"
    promotion.add(4, 0, 0.0, (9.0, 99.0))
    assert promotion.goes_on(4, 0, expected), "whatever it gave here"
