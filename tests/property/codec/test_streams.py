"""Round trips of the parts of a container, for any input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sigdca.codec import gaps, huffman, rans
from sigdca.codec.arithmetic import Decoder, Encoder
from sigdca.codec.coders import encode_rans, open_coder
from sigdca.codec.levels import Limits
from sigdca.codec.sparse import code_sparse
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


@st.composite
def weighted_symbols(draw):
    """Symbols, and frequencies that need not be theirs: any but 0 for what occurs."""
    alphabet = draw(st.integers(1, 256))
    used = draw(st.lists(st.integers(0, alphabet - 1), min_size=1, max_size=40, unique=True))
    symbols = draw(st.lists(st.sampled_from(used), max_size=300))
    counts = np.zeros(alphabet, np.int64)
    counts[used] = draw(st.lists(st.integers(1, 10**9), min_size=len(used), max_size=len(used)))
    return np.array(symbols, np.uint8), rans.frequencies(counts)


@given(weighted_symbols())
def test_rans(case):
    symbols, freqs = case
    stream = rans.encode(symbols, freqs)
    assert encode_rans(symbols, freqs, fast=True) == stream
    assert rans.decode(memoryview(stream), len(symbols), freqs, "x") == symbols.tobytes()
    bits = float(-np.log2(freqs[symbols] / rans.SCALE).sum())
    if len(symbols):  # a state gives off what it is over 16 bits, and keeps up to 16 more
        assert bits / 8 - 2 * rans.LANES - 1 <= len(stream) - 16 <= 1.001 * bits / 8 + 1
    else:
        assert stream == b""


@given(arrays(np.int64, st.integers(1, 256), elements=st.integers(0, 10**9)))
def test_frequencies(counts):
    freqs = rans.frequencies(counts)
    assert freqs.sum() == rans.SCALE
    if counts.any():
        assert ((freqs > 0) == (counts > 0)).all()


@given(st.binary(max_size=60), st.integers(0, 300), weighted_symbols())
def test_any_bytes_are_a_rans_stream_or_a_format_error(data, count, case):
    try:
        symbols = rans.decode(memoryview(data), count, case[1], "x")
    except FormatError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert len(symbols) == count
        assert rans.encode(np.frombuffer(symbols, np.uint8), case[1]) == data
    assert "\n" not in refusal


@st.composite
def sparse_levels(draw):
    """Places and levels, by the zeros between; the chunk goes on behind the last."""
    limits = Limits(draw(st.sampled_from([0, 1, 2, 9, 65535])), draw(st.integers(1, 40)))
    zeros = draw(st.lists(st.one_of(st.integers(0, 20), st.integers(0, 10**6)), max_size=40))
    level = st.integers(-limits.negative, limits.positive).filter(bool)
    levels = draw(st.lists(level, min_size=len(zeros), max_size=len(zeros)))
    places = np.cumsum(np.array(zeros, np.int64) + 1) - 1
    size = int(places[-1]) + 1 if zeros else 1
    return places.tolist(), levels, size + draw(st.integers(0, 9)), limits


@given(sparse_levels())
def test_sparse(case):
    places, levels, size, limits = case
    coder = Encoder()
    code_sparse(coder, list(places), list(levels), size, limits, "x")
    stream = coder.finish()
    fast = open_coder(None, "x")
    fast.sparse(np.array(places, np.uint32), np.array(levels, np.int32), size, limits)
    assert fast.finish() == stream
    found = [0] * len(places), [0] * len(places)
    decoder = Decoder(stream, "x")
    code_sparse(decoder, *found, size, limits, "x")
    decoder.finish()
    assert found == (places, levels)


@given(st.binary(max_size=60), st.integers(0, 50), st.integers(0, 50), sparse_levels())
def test_any_bytes_are_sparse_levels_or_a_format_error(data, count, behind, case):
    """The same by the library and by Python."""
    limits, size = case[-1], count + behind
    values = np.arange(1, sum(limits) + 1, dtype=np.float32)
    verdicts = []
    for fast in (True, False):
        weights, used = np.zeros(size, np.float32), np.zeros(len(values), np.bool_)
        coder = open_coder(memoryview(data), "x: stream", fast=fast)
        try:
            coder.sparse_weights(count, values, limits, weights, used, "x")
            coder.finish()
        except FormatError as error:
            verdicts.append((type(error), str(error)))
        else:
            assert np.count_nonzero(weights) == count
            verdicts.append((weights.tobytes(), used.tobytes()))
    assert verdicts[0] == verdicts[1]
