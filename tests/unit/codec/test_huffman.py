import heapq
import tracemalloc

import numpy as np
import pytest

from sigdca.codec.errors import (
    CodeTableError,
    StreamEndError,
    SymbolCountError,
    TrailingBitsError,
)
from sigdca.codec.huffman import (
    MAX_CODE_BITS,
    code_lengths,
    coded_bytes,
    decode,
    encode,
    symbol_type,
)


def binary(text):
    text = text.replace(" ", "")
    assert len(text) % 8 == 0
    return int(text, 2).to_bytes(len(text) // 8, "big")


def cost_without_limit(counts):
    """The bits of Huffman's own algorithm: the sum of all its merged counts."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def kraft(lengths):
    return sum(2.0 ** -int(length) for length in lengths if length)


def fibonacci(count):
    numbers = [1, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return np.array(numbers)


@pytest.mark.parametrize("size", [2, 3, 5, 32, 200])
@pytest.mark.parametrize("seed", range(5))
def test_lengths_are_as_good_as_huffmans(size, seed):
    counts = np.random.default_rng(seed).integers(0, 1000, size)
    counts[0] += 1
    lengths = code_lengths(counts)
    assert lengths.max() < MAX_CODE_BITS  # so the limit did not bind
    assert int(counts @ lengths.astype(np.int64)) == cost_without_limit(counts.tolist())
    assert kraft(lengths) == 1
    assert ((lengths == 0) == (counts == 0)).all()


def test_lengths_are_limited():
    counts = fibonacci(30)
    lengths = code_lengths(counts)
    assert lengths.max() == MAX_CODE_BITS
    assert kraft(lengths) == 1
    assert (np.diff(lengths.astype(int)) <= 0).all()
    unlimited = cost_without_limit(counts.tolist())
    assert unlimited < counts @ lengths.astype(np.int64) < 1.001 * unlimited


def test_lengths_of_few_symbols():
    assert code_lengths(np.array([0, 0, 0])).tolist() == [0, 0, 0]
    assert code_lengths(np.array([0, 7, 0])).tolist() == [0, 1, 0]
    assert code_lengths(np.array([7, 0, 1])).tolist() == [1, 0, 1]


def test_literal_bits():
    symbols = np.array([3, 0, 3, 1, 3, 2, 3], np.uint8)
    # Lengths 3 3 2 1: p - 1 from 4; the same; p - 1; p - 1. Codes 110, 111, 10, 0.
    data = binary("110 0 110 110  0 110 0 111 0 10 0  00")
    assert encode(symbols, 4) == data
    assert decode(data, 7, 4).tolist() == symbols.tolist()


def test_no_symbols_no_bytes():
    assert encode(np.zeros(0, np.uint8), 5) == b""
    assert decode(b"", 0, 5).tolist() == []
    with pytest.raises(TrailingBitsError):
        decode(b"\0", 0, 5)


def test_one_distinct_symbol_takes_no_bits():
    few = encode(np.full(1, 2, np.uint8), 4)
    many = encode(np.full(100_000, 2, np.uint8), 4)
    assert few == many == binary("1110 1110 1111 0000 1110 0000")
    assert (decode(many, 100_000, 4) == 2).all()
    assert encode(np.zeros(9, np.uint8), 1) == binary("1111 0000")


def test_65536_symbols():
    symbols = np.random.default_rng(0).permutation(65536).astype(np.uint16)
    data = encode(symbols, 65536)
    assert len(data) == 2 * 65536 + (65536 + 7) // 8 + 1  # 16 bits each; a bit a length, 7 more
    decoded = decode(data, 65536, 65536)
    assert decoded.dtype == np.uint16
    assert (decoded == symbols).all()


@pytest.mark.parametrize("alphabet", [2, 3, 32, 256, 257, 5000])
@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 200_000])
def test_round_trip_across_pieces(alphabet, count):
    rng = np.random.default_rng(alphabet + count)
    drawn = np.minimum(rng.geometric(4 / (alphabet + 3), count) - 1, alphabet - 1)
    symbols = drawn.astype(symbol_type(alphabet))
    data = encode(symbols, alphabet)
    assert len(data) == coded_bytes(np.bincount(symbols, minlength=alphabet))
    decoded = decode(data, count, alphabet)
    assert decoded.dtype == symbols.dtype
    assert (decoded == symbols).all()


def test_longest_codes_round_trip():
    symbols = np.repeat(np.arange(24, dtype=np.uint8), fibonacci(24))
    np.random.default_rng(0).shuffle(symbols)
    data = encode(symbols, 24)
    assert (decode(data, len(symbols), 24) == symbols).all()


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        ("1111 0000 0 0 000000", CodeTableError, "over-subscribed at symbol 2"),
        ("1111 0000 10 10 0000", CodeTableError, "under-subscribed, 8192 of 65536 parts are free"),
        ("1110 1110 1110 0000", CodeTableError, "under-subscribed, 65536 of 65536"),
        ("1110 1111 0001 1110", CodeTableError, "under-subscribed, 49152 of 65536"),
        ("1111 1111 10 000000", CodeTableError, "symbol 1 has a code of 17 bits, must be 1..16"),
        ("1111 0000 110 00000", CodeTableError, "symbol 1 has a code of 0 bits, must be 1..16"),
        ("1110 1111", StreamEndError, "ends at bit 8, within its code lengths"),
        ("1111 0000 10 0 00000", StreamEndError, "ends at bit 16, its 6 symbols need at least 17"),
        ("1111 0000 10 0 00011", StreamEndError, "ends at bit 16, before the last of 5 symbols"),
        ("1111 0000 10 0 00000 00000000", TrailingBitsError, "at bit 16, but goes on to bit 24"),
    ],
)
def test_refuses(bits, error, message):
    count = 6 if "its 6" in message else 5
    with pytest.raises(error) as caught:
        decode(binary(bits), count, 3, "layer 'x': stream")
    assert str(caught.value).startswith("layer 'x': stream")
    assert message in str(caught.value)


def test_refuses_padding_that_is_not_zero():
    data = binary("1111 0000 10 0 000 01")
    with pytest.raises(TrailingBitsError, match="padding after bit 14 must be zero"):
        decode(data, 3, 3)


def test_refuses_a_negative_count():
    with pytest.raises(SymbolCountError, match="promises -1 symbols"):
        decode(b"", -1, 3)


def test_refuses_a_promise_before_it_allocates():
    data = binary("1111 0000 10 0 00000") + bytes(1000)
    tracemalloc.start()
    with pytest.raises(StreamEndError, match="its 2147483648 symbols need at least 2147483659"):
        decode(data, 2**31, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_decodes_in_bounded_memory():
    symbols = np.random.default_rng(0).integers(0, 32, 2_000_000).astype(np.uint8)
    data = encode(symbols, 32)
    tracemalloc.start()
    decode(data, len(symbols), 32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(symbols) + 10_000_000


def test_encodes_in_bounded_memory():
    symbols = np.random.default_rng(0).integers(0, 32, 2_000_000).astype(np.uint8)
    tracemalloc.start()
    data = encode(symbols, 32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(data) + 8 * len(symbols) + 40_000_000
