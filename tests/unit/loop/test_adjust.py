import pytest

from sigdca.job import Budget, Pass
from sigdca.loop.adjust import MAX_STEP, Adjustment, adjusted, next_adjustment


def figures(error, container_bytes):
    return {"error": error, "accuracy_drop": 0.0, "container_bytes": container_bytes}


QUANTIZE = {"quantize": {"step": 0.1, "rate_lambda": 1e-6}}
BUDGET = Budget(error=1.5, container_bytes=20_000)


def test_too_large_but_accurate_prunes_more_by_what_is_missing():
    changed = next_adjustment(Adjustment(), BUDGET, figures(1.4, 25_000))
    assert changed.density == pytest.approx(0.98 * 20 / 25)
    assert changed.epochs == 1


def test_a_step_is_bounded():
    changed = next_adjustment(Adjustment(), BUDGET, figures(1.4, 2_000_000))
    assert changed.density == pytest.approx(1 / MAX_STEP)


def test_small_but_inaccurate_prunes_less():
    changed = next_adjustment(Adjustment(), BUDGET, figures(1.6, 10_000))
    assert changed.density == 1.25


def test_neither_retrains_for_longer():
    changed = next_adjustment(Adjustment(), BUDGET, figures(1.6, 20_000))
    assert changed == Adjustment(density=1.0, epochs=2.0)


def test_the_pass_follows_the_adjustment():
    step = Pass.model_validate({"prune": {"sparsity": {"a": 0.9, "b": 0.0}, "epochs": 3}})
    changed = adjusted(step, Adjustment(density=0.5, epochs=2.0)).prune
    assert changed.sparsity == {"a": pytest.approx(0.95), "b": 0.5}
    assert changed.epochs == 6


@pytest.mark.parametrize("name", ["quantize", "rdoq"])
def test_a_lower_density_is_a_higher_price_of_bits(name):
    step = Pass.model_validate({name: {"step": 0.1, "rate_lambda": 2e-6, "epochs": 3}})
    changed = adjusted(step, Adjustment(density=0.5, epochs=2.0)).config
    assert changed.rate_lambda == pytest.approx(4e-6)
    assert (changed.step, changed.epochs) == (0.1, 6)


def test_no_adjustment_leaves_a_pass_as_it_was():
    for step in ({"prune": {"sparsity": 0.9}}, {"share": {"bits": 5}}, QUANTIZE, {"encode": {}}):
        assert adjusted(Pass.model_validate(step), Adjustment()) == Pass.model_validate(step)
