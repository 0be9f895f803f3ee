"""Time and money: what is spent, by trials at work too, and what there is time for."""

import pytest

from sigdca.search.record import TrialRecord
from sigdca.search.spending import Spending


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(make_job, clock):
    def made(*settings, elapsed_s=0.0, cost=0.0):
        return Spending(make_job(*settings).search, elapsed_s, cost, clock)

    return made


WHERE = {"node": "n", "site": "public", "price": 2.0}
HOUR = 3600


def test_trials_at_work_cost_by_the_second(make, clock):
    spending = make("search.cost=5", cost=1.0)
    spending.start(1, WHERE)
    clock.now += HOUR
    spending.start(2, WHERE | {"price": 1.0})
    assert spending.cost == 3.0
    assert spending.why_over() is None
    clock.now += HOUR
    assert spending.why_over() == "cost: 6 of 5 are spent"


def test_a_result_is_paid_by_its_own_time(make, clock):
    spending = make()
    spending.start(1, WHERE)
    clock.now += 2 * HOUR
    record = TrialRecord(number=1, origin="sampler", cost=0.5, duration_s=10.0)
    assert spending.pay(record, HOUR, WHERE) == WHERE | {"cost": 2.5, "duration_s": 3610.0}
    clock.now += HOUR
    assert spending.cost == 2.0, "it is at work no longer"
    assert spending.cut_off(record) == {}


def test_what_is_cut_off_is_paid_by_the_time_since_it_began(make, clock):
    spending = make()
    record = TrialRecord(number=1, origin="sampler")
    assert spending.cut_off(record) == {}
    spending.start(1, WHERE)
    clock.now += HOUR
    assert spending.cut_off(record) == WHERE | {"cost": 2.0, "duration_s": 3600.0}
    clock.now += HOUR
    assert spending.cost == 2.0


@pytest.mark.parametrize(
    ("fidelity", "duration_s", "fits"),
    [(1, 100, True), (1, 101, False), (0, 1000, True)],
    ids=["just", "not", "without epochs nobody knows"],
)
def test_there_is_time_for_what_ends_before_the_study(make, clock, fidelity, duration_s, fits):
    spending = make("search.time_budget_s=1000", elapsed_s=200.0)
    clock.now += 400
    assert spending.has_time(fidelity, duration_s) == fits


def test_without_a_clock_there_is_time(make):
    assert make().has_time(1, 1e9)
