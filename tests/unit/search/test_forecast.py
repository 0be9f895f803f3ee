"""What a trial will come to, by what others came to."""

import math
import random

import pytest

from sigdca.job import parse_job
from sigdca.search import Forecast, Known, features_of

JOB = """
name: s
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: 0.9}}, {share: {bits: 4}}, encode]}
search:
  space:
    compress.recipe:
      choice:
        shared:
          value: [{prune: {sparsity: 0.9}}, {share: {bits: 4}}, encode]
          space:
            compress.recipe.0.prune.sparsity: {uniform: [0.5, 0.99]}
            compress.recipe.1.share.bits: {int: [2, 6]}
            compress.recipe.2.encode.coder: {choice: [huffman, arithmetic]}
        priced:
          value: [{quantize: {rate_lambda: 1.0e-6, step: 0.1}}, encode]
          space:
            compress.recipe.0.quantize.rate_lambda: {loguniform: [1.0e-6, 1.0e-4]}
  num_trials: 9
"""
SPACE = parse_job(JOB, "s.yaml").search.space
SHARED, PRICED = "compress.recipe=shared:", "compress.recipe=priced:"


def shared(sparsity, bits=4, coder="huffman"):
    recipe = f"{SHARED}compress.recipe"
    return {
        "compress.recipe": "shared",
        f"{recipe}.0.prune.sparsity": sparsity,
        f"{recipe}.1.share.bits": bits,
        f"{recipe}.2.encode.coder": coder,
    }


def priced(rate_lambda):
    name = f"{PRICED}compress.recipe.0.quantize.rate_lambda"
    return {"compress.recipe": "priced", name: rate_lambda}


def known(point, low, full):
    return Known(features_of(SPACE, point, low), low, full)


def test_features_are_what_exists_and_what_came_of_it():
    low = {"error": 1.5}
    found = features_of(SPACE, priced(1e-5), low)
    assert found == {
        "compress.recipe=shared": 0.0,
        "compress.recipe=priced": 1.0,
        f"{PRICED}compress.recipe.0.quantize.rate_lambda": math.log(1e-5),
        "low error": 1.5,
        "low error compress.recipe=priced": 1.5,
    }
    found = features_of(SPACE, shared(0.8, 3, "arithmetic"), low)
    assert found[f"{SHARED}compress.recipe.1.share.bits"] == 3.0
    coder = f"{SHARED}compress.recipe.2.encode.coder"
    assert (found[f"{coder}=huffman"], found[f"{coder}=arithmetic"]) == (0.0, 1.0)
    assert not any(name.startswith(PRICED) for name in found)


def test_each_recipe_changes_figures_in_its_own_way():
    rng = random.Random(0)
    trials = []
    for _ in range(30):
        size, sparsity = rng.uniform(5000, 20000), rng.uniform(0.5, 0.99)
        low = {"error": rng.uniform(1.2, 1.4), "container_bytes": size}
        trials.append(known(shared(sparsity), low, low | {"error": low["error"] / 2}))
        price = 10 ** rng.uniform(-6, -4)
        full = {"error": 1.0 + 2.0 * (math.log10(price) + 6), "container_bytes": size / 3}
        trials.append(known(priced(price), low, full))
    forecast = Forecast(trials)
    low = {"error": 1.3, "container_bytes": 10000.0}
    found = forecast.figures(features_of(SPACE, shared(0.7), low), low)
    assert found["container_bytes"] == pytest.approx(10000, rel=0.05)
    assert found["error"] == pytest.approx(0.65, rel=0.1)
    errors = []
    for price in (2e-6, 5e-5):
        found = forecast.figures(features_of(SPACE, priced(price), low), low)
        assert found["container_bytes"] == pytest.approx(3333, rel=0.05)
        errors.append(found["error"])
    assert errors[0] == pytest.approx(1.6, rel=0.25)
    assert errors[1] == pytest.approx(4.4, rel=0.25)


def test_a_figure_that_may_be_negative_changes_by_a_difference():
    trials = [
        known(shared(0.5 + drop / 10), {"accuracy_drop": drop}, {"accuracy_drop": drop - 1.0})
        for drop in (-0.5, 0.0, 1.0, 2.0)
    ]
    low = {"accuracy_drop": 0.5}
    found = Forecast(trials).figures(features_of(SPACE, shared(0.55), low), low)
    assert found["accuracy_drop"] == pytest.approx(-0.5)


def test_where_all_came_to_the_same_so_does_the_next():
    low = {"error": 2.0}
    one = known(shared(0.9), low, {"error": 1.0})
    for point in (shared(0.6, 2, "arithmetic"), priced(1e-5)):
        found = Forecast([one] * 4).figures(features_of(SPACE, point, low), low)
        assert found["error"] == pytest.approx(1.0)


def test_equal_numbers_are_no_measure_of_how_far_another_is():
    """The mean of three times 0.1 is another number than 0.1."""
    trials = [known(shared(0.1), {"error": 2.0}, {"error": 1.0 + at / 10}) for at in range(3)]
    trials.append(known(priced(1e-5), {"error": 2.0}, {"error": 2.0}))
    for sparsity in (0.12, 0.9):
        low = {"error": 2.0}
        found = Forecast(trials).figures(features_of(SPACE, shared(sparsity), low), low)
        assert 0.9 < found["error"] < 1.3


def test_what_lies_far_away_comes_to_hardly_more_than_was_ever_seen():
    lows = (3900.0, 4000.0, 4010.0, 4100.0)
    trials = [
        known(shared(0.9), {"container_bytes": low}, {"container_bytes": low / (2 + at / 10)})
        for at, low in enumerate(lows)
    ]
    low = {"container_bytes": 30000.0}
    found = Forecast(trials).figures(features_of(SPACE, shared(0.9), low), low)
    assert 30000 / 2.6 < found["container_bytes"] < 30000 / 1.8
