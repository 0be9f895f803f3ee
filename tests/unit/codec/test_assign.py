import numpy as np
import pytest

from sigdca.codec.assign import assign_levels
from sigdca.codec.coders import open_coder
from sigdca.codec.levels import Limits
from sigdca.codec.values import MAX_GRID_LEVEL, share


def weights(shape=(20, 60), seed=0):
    rng = np.random.default_rng(seed)
    likely = rng.random(shape[1]) < 0.6
    return (rng.laplace(0, 0.9, shape) * likely).astype(np.float32)


def stream_bits(levels, stride):
    coder = open_coder(None, "")
    limits = Limits(max(0, -int(levels.min())), max(0, int(levels.max())))
    coder.levels(levels, stride, limits, "")
    return 8 * len(coder.finish())


@pytest.mark.parametrize("stride", [0, 5])
@pytest.mark.parametrize("rate_lambda", [0.0, 0.05, 0.5])
def test_python_and_the_library_choose_alike(stride, rate_lambda):
    fast = assign_levels(weights(), stride, rate_lambda)
    slow = assign_levels(weights(), stride, rate_lambda, fast=False)
    assert np.array_equal(fast.levels, slow.levels)
    assert fast.bits == pytest.approx(slow.bits)


def test_the_bits_are_those_of_the_stream():
    found = assign_levels(weights((60, 90)), 5, 0.03)
    assert found.bits == pytest.approx(stream_bits(found.levels, 5), abs=16)


def test_a_price_of_nothing_gives_the_nearest_levels():
    drawn = weights()
    assert np.array_equal(assign_levels(drawn, 0, 0.0).levels, np.rint(drawn))


def test_the_sum_of_error_and_price_falls():
    """Against rounding, at the same price."""
    drawn, rate_lambda = weights((80, 90)), 0.3

    def cost(levels):
        return float(((drawn - levels) ** 2).sum()) + rate_lambda * stream_bits(levels, 0)

    chosen = assign_levels(drawn, 0, rate_lambda).levels
    rounded = np.rint(drawn).astype(np.int32)
    assert cost(chosen) < cost(rounded)


@pytest.mark.parametrize("shape", [(3, 4), (4, 0)])
def test_nothing_but_zeros(shape):
    found = assign_levels(np.zeros(shape, np.float32), 0, 0.1)
    assert found.levels.shape == shape
    assert not found.levels.any()


@pytest.mark.parametrize("fast", [True, False])
def test_the_largest_levels(fast):
    drawn = np.float32([[MAX_GRID_LEVEL, 1], [0, -MAX_GRID_LEVEL]])
    assert np.array_equal(assign_levels(drawn, 0, 0.0, fast=fast).levels, drawn)
    assert share(drawn.ravel(), 1).step == 1  # a container has it as a grid
