import numpy as np
import pytest

from sigdca.codec.errors import GapEndError, GapOverrunError
from sigdca.codec.gaps import GAP_BITS, symbol_counts, to_positions, to_symbols


def positions(symbols, bits, size):
    parts = list(to_positions(np.array(symbols, np.uint8), bits, size, "gap stream"))
    return np.concatenate(parts).tolist()


@pytest.mark.parametrize(
    ("gap", "symbols"),
    [
        (0, [0]),
        (6, [6]),  # the longest that needs no filler
        (7, [7, 0]),
        (8, [7, 1]),
        (13, [7, 6]),
        (14, [7, 7, 0]),
    ],
)
def test_fillers_of_3_bits(gap, symbols):
    assert to_symbols(np.array([gap], np.uint32), 3).tolist() == symbols
    assert positions(symbols, 3, 100) == [gap]


def test_a_filler_places_no_weight():
    assert positions([0, 3, 0, 3, 3, 2], 2, 16) == [0, 4, 13]


def test_no_gaps():
    assert to_symbols(np.zeros(0, np.uint32), 4).tolist() == []


@pytest.mark.parametrize("bits", GAP_BITS)
def test_counts_are_those_of_the_symbols(bits):
    gaps = np.random.default_rng(bits).geometric(0.01, 3000).astype(np.uint32) - 1
    values, counts = np.unique(gaps, return_counts=True)
    symbols = to_symbols(gaps, bits)
    assert symbol_counts(values, counts, bits).tolist() == (
        np.bincount(symbols, minlength=2**bits).tolist()
    )


def test_places_across_pieces():
    gaps = np.random.default_rng(0).geometric(0.2, 400_000).astype(np.uint32) - 1
    expected = np.cumsum(gaps + 1, dtype=np.int64) - 1
    size = int(expected[-1]) + 1
    for bits in (2, 5):
        assert positions(to_symbols(gaps, bits), bits, size) == expected.tolist()


def test_refuses_a_place_behind_the_end():
    assert positions([3, 0, 4], 4, 10) == [3, 4, 9]
    with pytest.raises(GapOverrunError, match="gap stream leads to weight 10, the last is 9"):
        positions([3, 0, 5], 4, 10)


def test_refuses_a_filler_at_the_end():
    with pytest.raises(GapEndError, match="symbol 1, the last one, is a filler"):
        positions([0, 3], 2, 100)
