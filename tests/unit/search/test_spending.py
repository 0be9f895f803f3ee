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
    ("importance", "fidelity", "duration_s", "fits"),
    [
        ("magnitude", 1, 109, True),  # 2 + 1 epochs, then 8 + 3
        ("magnitude", 1, 110, False),
        ("magnitude", 0, 1000, True),  # without epochs nobody knows
        ("movement", 0, 133, True),  # 1 epoch, then 2 + 1
        ("movement", 0, 134, False),
    ],
)
def test_there_is_time_for_what_ends_before_the_study(
    make, make_job, clock, importance, fidelity, duration_s, fits
):
    spending = make("search.time_budget_s=1000", elapsed_s=200.0)
    clock.now += 400
    job = make_job(f"compress.recipe.0.prune.importance={importance}")
    assert spending.has_time(job, fidelity, duration_s) == fits


def test_there_is_time_for_what_is_done_already(make, make_job):
    spending = make("search.time_budget_s=1000", elapsed_s=900.0)
    job = make_job("compress.recipe.0.prune.epochs=1", "compress.recipe.1.share.epochs=1")
    assert spending.has_time(job, 1, 500), "epochs are rounded up: a quarter of one is one"
    job = make_job("compress.recipe.0.prune.epochs=1", "compress.recipe.1.share.epochs=2")
    assert not spending.has_time(job, 1, 500)


def test_a_recipe_without_epochs_has_time(make, make_job):
    job = make_job("compress.recipe=[encode]")
    assert make("search.time_budget_s=1000").has_time(job, 1, 1e9)


def test_without_a_clock_there_is_time(make, make_job):
    assert make().has_time(make_job(), 1, 1e9)
