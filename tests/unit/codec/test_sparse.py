import numpy as np
import pytest

from sigdca.codec.arithmetic import Decoder, Encoder
from sigdca.codec.coders import open_coder
from sigdca.codec.errors import GapOverrunError, LevelError
from sigdca.codec.levels import Limits
from sigdca.codec.sparse import code_sparse
from sigdca.errors import FormatError

WHERE = "layer 'a'"


def encode(places, levels, size, limits):
    coder = Encoder()
    code_sparse(coder, list(places), list(levels), size, limits, WHERE)
    return coder.finish()


def decode(stream, count, size, limits):
    places, levels = [0] * count, [0] * count
    decoder = Decoder(stream, f"{WHERE}: stream")
    code_sparse(decoder, places, levels, size, limits, WHERE)
    decoder.finish()
    return places, levels


def decode_fast(stream, count, size, limits):
    values = np.delete(np.arange(-limits.negative, limits.positive + 1), limits.negative)
    weights, used = np.zeros(size, np.float32), np.zeros(len(values), np.bool_)
    coder = open_coder(memoryview(stream), f"{WHERE}: stream")
    coder.sparse_weights(count, values.astype(np.float32), limits, weights, used, WHERE)
    coder.finish()
    assert set(values[used]) == set(weights[weights != 0])
    places = np.flatnonzero(weights)
    return places.tolist(), weights[places].astype(int).tolist()


def draw(size, density, spread, seed=0):
    rng = np.random.default_rng(seed)
    kept = rng.random(size) < density
    levels = np.where(kept, np.rint(rng.normal(0, spread, size)), 0).astype(np.int32)
    places = np.flatnonzero(levels)
    return places.tolist(), levels[places].tolist()


@pytest.mark.parametrize("size", [1, 2, 50, 3000])
@pytest.mark.parametrize(("density", "spread"), [(0, 1), (0.01, 1), (0.2, 3), (1, 400)])
def test_levels_come_back(size, density, spread):
    places, levels = draw(size, density, spread)
    limits = Limits(max(1, -min(levels, default=0)), max(1, max(levels, default=0)))
    stream = encode(places, levels, size, limits)
    assert decode(stream, len(places), size, limits) == (places, levels)
    assert decode_fast(stream, len(places), size, limits) == (places, levels)
    fast = open_coder(None, "")
    fast.sparse(np.array(places, np.uint32), np.array(levels, np.int32), size, limits)
    assert fast.finish() == stream


@pytest.mark.parametrize("gap", [*range(9), 127, 128, 2**20 - 1, 2**31 - 1])
@pytest.mark.parametrize("level", [1, 2, 3, 15, 16, 17, 65535, -1, -65535])
def test_any_gap_and_any_level(gap, level):
    """Beyond what a tensor may have: the coder itself has no such limit."""
    limits = Limits(65535, 65535)
    stream = encode([gap, gap + 1], [level, level], 2**32 - 1, limits)
    assert decode(stream, 2, 2**32 - 1, limits) == ([gap, gap + 1], [level, level])


@pytest.mark.parametrize(("limits", "sign"), [(Limits(0, 5), 1), (Limits(5, 0), -1)])
def test_levels_of_one_sign_have_none(limits, sign):
    places, levels = draw(2000, 0.1, 2)
    levels = [sign * min(5, abs(level)) for level in levels]
    stream = encode(places, levels, 2000, limits)
    assert decode(stream, len(places), 2000, limits) == (places, levels)
    assert len(stream) < len(encode(places, levels, 2000, Limits(5, 5)))


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5])
def test_takes_next_to_no_more_than_the_entropy(density):
    """Of places that are independent of each other, and signs as likely as not."""
    size = 100_000
    rng = np.random.default_rng(1)
    places = np.flatnonzero(rng.random(size) < density).tolist()
    levels = rng.choice([-1, 1], len(places)).tolist()
    stream = encode(places, levels, size, Limits(1, 1))
    free = 1 - density
    bits = -density * np.log2(density) - free * np.log2(free)
    assert len(stream) < 1.03 * (size * bits + len(places)) / 8 + 60


@pytest.mark.parametrize("size", [2, 7, 8])
def test_gaps_that_lead_behind_the_end(size):
    places, levels = [3, 8], [1, -1]
    stream = encode(places, levels, 9, Limits(1, 1))
    last = 3 if size <= 3 else 8
    message = f"^layer 'a': gaps lead to weight {last}, the last is {size - 1}$"
    for read in (decode, decode_fast):
        with pytest.raises(GapOverrunError, match=message):
            read(stream, 2, size, Limits(1, 1))


@pytest.mark.parametrize(
    ("level", "limits"), [(-3, Limits(2, 3)), (3, Limits(0, 2)), (7, Limits(1, 6))]
)
def test_a_level_beyond_its_values_is_refused(level, limits):
    coder = Encoder()
    message = "^layer 'a': a level is beyond its tensor's values$"
    with pytest.raises(LevelError, match=message):
        code_sparse(coder, [0, 4], [1, level], 9, limits, WHERE)
    stream = coder.finish()
    for read in (decode, decode_fast):
        with pytest.raises(LevelError, match=message):
            read(stream, 2, 9, limits)


def test_truncated_anywhere():
    """Behind a stream's end there are zeros: what is cut leads elsewhere, or is refused."""
    places, levels = draw(500, 0.2, 2)
    limits = Limits(9, 9)
    stream = encode(places, levels, 500, limits)
    for length in range(len(stream)):
        verdicts = []
        for read in (decode, decode_fast):
            try:
                verdicts.append(read(stream[:length], len(places), 500, limits))
            except FormatError as error:
                verdicts.append((type(error), str(error)))
        assert verdicts[0] == verdicts[1]
        assert verdicts[0] != (places, levels)
