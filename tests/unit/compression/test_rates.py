import math

import pytest
import torch

from sigdca.compression.rates import MAX_LEVEL, Rates


def entropy_bits(levels):
    _, counts = levels.unique(return_counts=True)
    share = counts.double() / levels.numel()
    return float(-(counts * torch.log2(share)).sum())


def uneven(rows=200, cols=300, seed=0):
    """Levels of which most are zero, without structure."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand((rows, cols), generator=generator)
    sign = torch.where(torch.rand((rows, cols), generator=generator) < 0.5, -1.0, 1.0)
    return sign * ((draw > 0.9).float() + (draw > 0.97).float() + (draw > 0.99).float())


def test_levels_without_structure_cost_about_their_entropy():
    levels = uneven()
    assert Rates.of(levels).bits(levels) == pytest.approx(entropy_bits(levels), rel=0.02)


def test_empty_rows_and_columns_make_the_rest_cheaper():
    levels = uneven()
    ordered = torch.zeros_like(levels)
    used = levels[levels != 0]
    ordered[:60, :100].view(60, 100)[:] = 0
    flat = ordered[:60].reshape(-1)
    flat[: len(used)] = used
    ordered[:60] = flat.reshape(60, -1)
    assert Rates.of(ordered).bits(ordered) < 0.6 * Rates.of(levels).bits(levels)


def test_all_zeros_cost_next_to_nothing():
    levels = torch.zeros(300, 784)
    assert Rates.of(levels).bits(levels) < 16


def test_the_slope_is_what_a_level_more_costs():
    levels = uneven()
    rates = Rates.of(levels)
    for row, col in ((0, 0), (7, 9)):
        latent = torch.zeros_like(levels)
        latent[row, col] = 0.4
        price = rates.entered[row, col] + rates.magnitude[1]
        assert float(rates.slope(latent)[row, col]) == pytest.approx(float(price))
        latent[row, col] = -1.4
        rise = rates.magnitude[2] - rates.magnitude[1]
        assert float(rates.slope(latent)[row, col]) == pytest.approx(-float(rise))


def test_no_weight_is_pushed_away_from_zero():
    slope = Rates.of(torch.full((4, 5), 2.0)).slope(torch.linspace(-3, 3, 20).reshape(4, 5))
    assert (slope * torch.linspace(-3, 3, 20).reshape(4, 5) >= 0).all()


def test_levels_beyond_the_last_one_are_as_dear():
    levels = torch.tensor([[0.0, 1e6, -1e6, 3.0]])
    rates = Rates.of(levels)
    assert math.isfinite(rates.bits(levels))
    slope = rates.slope(torch.tensor([[1e6, -1e6, MAX_LEVEL + 0.5, float(MAX_LEVEL)]]))
    assert not slope.any()


@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, 2, 3, 3), (1, 1)])
def test_any_shape(shape):
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(-2, 3, shape, generator=generator).float()
    rates = Rates.of(levels)
    assert rates.entered.shape == levels.shape
    assert rates.slope(levels).shape == levels.shape
    assert rates.bits(levels) > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_ways_to_the_slope_are_one(layout):
    generator = torch.Generator().manual_seed(3)
    latent = torch.randn((8, 6, 5, 5), generator=generator).mul_(12).to(memory_format=layout)
    latent[0] /= 40
    latent[1, 0] = torch.tensor([0.0, 1.0, -1.0, 30.0, 31.5])
    latent[1, 1, 0] = torch.tensor([math.nan, math.inf, -math.inf, 29.999, -0.5])
    rates = Rates.of(torch.round(latent))
    few = rates._slope_of_few(latent, None)
    assert (few != 0).any()
    assert torch.equal(few, rates._slope_of_all(latent, torch.empty_like(latent)))
