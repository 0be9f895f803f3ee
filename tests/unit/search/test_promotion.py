"""Who goes on to the next fidelity."""

from sigdca.search import Promotion


def test_the_better_half_goes_on():
    promotion = Promotion(3, 0.5)
    for trial, values in enumerate([(1, 1), (2, 2), (3, 3), (4, 4)]):
        promotion.add(trial, 0, 0.0, values)
    assert [promotion.goes_on(trial, 0) for trial in range(4)] == [True, True, False, False]


def test_the_first_always_goes_on_and_the_budget_decides_on_one_front():
    promotion = Promotion(2, 0.5)
    promotion.add(0, 0, 0.5, (1, 2))
    assert promotion.goes_on(0, 0)
    promotion.add(1, 0, 0.0, (2, 1))
    assert promotion.goes_on(1, 0)
    assert not promotion.goes_on(0, 0), "on the same front, but it misses the budget"


def test_what_meets_the_budget_goes_on_before_what_does_not():
    promotion = Promotion(2, 0.5)
    for trial, (violation, size) in enumerate([(9.0, 1), (0.1, 2), (0.0, 5), (0.0, 6)]):
        promotion.add(trial, 0, violation, (size,))
    assert [promotion.goes_on(trial, 0) for trial in range(4)] == [False, False, True, True]


def test_what_is_ruined_does_not_lead_where_nothing_meets_the_budget_yet():
    promotion = Promotion(2, 0.5)
    for trial, (violation, size) in enumerate([(90.0, 1), (2.0, 2), (2.0, 3), (1.0, 4)]):
        promotion.add(trial, 0, violation, (size,))
    assert [promotion.goes_on(trial, 0) for trial in range(4)] == [False, True, False, True]


def test_fidelities_do_not_mix():
    promotion = Promotion(2, 0.5)
    promotion.add(0, 0, 0.0, (0, 0))
    promotion.add(1, 1, 0.0, (9, 9))
    assert promotion.goes_on(1, 1)
    promotion.add(1, 1, 0.0, (8, 8))
    assert promotion.goes_on(1, 1), "a trial that runs again is not counted twice"
