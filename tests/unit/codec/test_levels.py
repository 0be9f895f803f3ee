import numpy as np
import pytest

from sigdca.codec.arithmetic import Decoder, Encoder
from sigdca.codec.errors import LevelError
from sigdca.codec.levels import Limits, code_levels


def limits_of(levels):
    return Limits(max(0, -int(levels.min())), max(0, int(levels.max())))


def coded(levels, stride=0, limits=None):
    coder = Encoder()
    code_levels(coder, levels.copy(), stride, limits or limits_of(levels), "layer 'a'")
    return coder.finish()


def decoded(stream, shape, stride, limits):
    levels = np.zeros(shape, np.int32)
    decoder = Decoder(stream, "stream")
    code_levels(decoder, levels, stride, limits, "layer 'a'")
    decoder.finish()
    return levels


def draw(rng, shape, density, spread):
    kept = rng.random(shape) < density
    return np.where(kept, np.rint(rng.normal(0, spread, shape)), 0).astype(np.int32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (40, 1), (7, 33), (20, 64)])
@pytest.mark.parametrize("stride", [0, 2, 5, 8, 100])
@pytest.mark.parametrize(("density", "spread"), [(0.0, 1), (0.05, 1), (0.5, 3), (1.0, 400)])
def test_levels_come_back(shape, stride, density, spread):
    levels = draw(np.random.default_rng(1), shape, density, spread)
    limits = Limits(*(max(1, limit) for limit in limits_of(levels)))
    assert np.array_equal(decoded(coded(levels, stride, limits), shape, stride, limits), levels)


def test_levels_of_one_sign_have_none():
    levels = np.abs(draw(np.random.default_rng(2), (50, 50), 0.5, 2))
    limits = limits_of(levels)
    assert limits.negative == 0
    assert np.array_equal(decoded(coded(levels), (50, 50), 0, limits), levels)
    assert len(coded(levels)) < len(coded(levels, limits=Limits(2, limits.positive)))
    assert np.array_equal(decoded(coded(-levels), (50, 50), 0, limits_of(-levels)), -levels)


def test_rows_of_zeros_cost_next_to_nothing():
    levels = np.zeros((1000, 300), np.int32)
    levels[500, 7] = 1
    assert len(coded(levels)) < 40


def test_the_line_above_in_an_image_helps():
    """Rows that look at images of 16 columns: weights stand below each other."""
    rng = np.random.default_rng(3)
    lines = draw(rng, (60, 1, 16), 0.15, 2)
    images = np.where(rng.random((60, 16, 16)) < 0.9, lines, 0).astype(np.int32)
    flat = images.reshape(60, -1)
    assert len(coded(flat, stride=16)) < 0.8 * len(coded(flat, stride=0))


@pytest.mark.parametrize(
    ("level", "limits"), [(-3, Limits(2, 3)), (3, Limits(0, 2)), (7, Limits(1, 6))]
)
def test_a_level_beyond_its_values_is_refused(level, limits):
    levels = np.array([[1, 0, level, 1]], np.int32)
    coder = Encoder()
    with pytest.raises(LevelError):
        code_levels(coder, levels, 0, limits, "here")
    message = "^layer 'a': a level is beyond its tensor's values$"
    with pytest.raises(LevelError, match=message):
        decoded(coder.finish(), (1, 4), 0, limits)
