"""What the benchmark of fronts says of them."""

import json
from dataclasses import asdict

import pytest

from tests.conftest import ROOT


@pytest.fixture
def fronts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import search_fronts

    return search_fronts


@pytest.mark.parametrize(
    ("ours", "random", "times"),
    [
        ([(0.4, 500.0)], [(0.7, 500.0)], 2.0),
        ([(0.4, 500.0)], [(1.2, 500.0)], 1000.0),
        ([(0.4, 500.0)], [(0.99999, 999.99)], 1000.0),
        ([(1.2, 500.0)], [(1.2, 500.0)], 1.0),
        ([(1.2, 500.0)], [(0.4, 500.0)], 0.0),
    ],
    ids=["both", "ours alone", "nearly ours alone", "neither", "random's alone"],
)
def test_a_front_that_meets_no_budget_is_a_number_too(fronts, ours, random, times):
    sides = {"ours": ours, "random": random, "tpe": ours}
    claims = fronts._claims("n", [fronts.Seed((1.2, 2000.0), (1.0, 1000.0), sides)], 0.74)
    (found,) = [claim for claim in claims if claim.against == "random"]
    assert found.value == pytest.approx(times)
    assert found.ok == (times >= 1.3)
    json.dumps([asdict(claim) for claim in claims], allow_nan=False)
