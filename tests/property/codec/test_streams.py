"""Round trips of the parts of a container, for any input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sigdca.codec import gaps, huffman
from sigdca.codec.varint import get_varint, put_varint
from sigdca.errors import FormatError


@st.composite
def symbol_lists(draw):
    """An alphabet, and symbols of it: few or many distinct ones, flat or skewed."""
    alphabet = draw(st.integers(1, 700))
    used = draw(st.lists(st.integers(0, alphabet - 1), min_size=1, max_size=40, unique=True))
    symbols = draw(st.lists(st.sampled_from(used), max_size=300))
    repeats = draw(st.integers(1, 50))
    return alphabet, np.array(symbols * repeats, huffman.symbol_type(alphabet))


@given(symbol_lists())
def test_huffman(case):
    alphabet, symbols = case
    data = huffman.encode(symbols, alphabet)
    assert huffman.decode(data, len(symbols), alphabet).tolist() == symbols.tolist()
    counts = np.bincount(symbols, minlength=alphabet)
    assert len(data) == (huffman.coded_bytes(counts) if len(symbols) else 0)


@given(arrays(np.int64, st.integers(1, 300), elements=st.integers(0, 10**9)))
def test_code_lengths(counts):
    lengths = huffman.code_lengths(counts)
    used = lengths[counts > 0].astype(int)
    assert not lengths[counts == 0].any()
    if len(used) > 1:
        assert 1 <= used.min() <= used.max() <= 16
        assert (65536 >> used).sum() == 65536
        order = np.argsort(counts[counts > 0], kind="stable")
        assert (np.diff(used[order]) <= 0).all()  # rarer symbols never have shorter codes


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(1, 40))
def test_any_bytes_are_a_stream_or_a_format_error(data, count, alphabet):
    try:
        symbols = huffman.decode(data, count, alphabet)
    except FormatError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert len(symbols) == count
        assert count == 0 or symbols.max() < alphabet
    assert "\n" not in refusal


@given(
    st.lists(st.one_of(st.integers(0, 20), st.integers(0, 3000)), min_size=1, max_size=60),
    st.sampled_from(gaps.GAP_BITS),
    st.integers(0, 10),
)
def test_gaps(distances, bits, behind):
    zeros = np.array(distances, np.uint32)
    places = np.cumsum(zeros + 1, dtype=np.int64) - 1
    size = int(places[-1]) + 1 + behind
    symbols = gaps.to_symbols(zeros, bits)
    assert symbols.max() < 2**bits
    assert np.count_nonzero(symbols != 2**bits - 1) == len(zeros)
    found = np.concatenate(list(gaps.to_positions(symbols, bits, size, "x")))
    assert found.tolist() == places.tolist()


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varint(value, before, behind):
    data = put_varint(value)
    assert get_varint(before + data + behind, len(before), "x") == (
        value,
        len(before) + len(data),
    )
