import numpy as np
import pytest

from sigdca.codec import rans
from sigdca.codec.coders import encode_rans
from sigdca.codec.errors import RansStateError, StreamEndError, TrailingBitsError
from sigdca.errors import FormatError

STATES = 16  # bytes that a stream begins with
HALVES = np.array([2048, 2048], np.int32)


def draw(count, alphabet, skew, seed=0):
    """Symbols that are rarer the larger they are."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, alphabet + 1) ** -float(skew)
    return rng.choice(alphabet, count, p=share / share.sum()).astype(np.uint8)


def frequencies_of(symbols, alphabet):
    return rans.frequencies(np.bincount(symbols, minlength=alphabet))


def decoded(stream, count, freqs=HALVES):
    return rans.decode(memoryview(stream), count, freqs, "layer 'a': map stream")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 1001])
@pytest.mark.parametrize(("alphabet", "skew"), [(1, 0), (2, 0), (5, 3), (256, 0), (256, 2)])
def test_symbols_come_back(count, alphabet, skew):
    symbols = draw(count, alphabet, skew)
    freqs = frequencies_of(symbols, alphabet)
    stream = rans.encode(symbols, freqs)
    assert decoded(stream, count, freqs) == symbols.tobytes()
    assert encode_rans(symbols, freqs, fast=True) == stream


@pytest.mark.parametrize(("alphabet", "skew"), [(2, 0), (2, 6), (16, 1), (256, 0), (256, 2)])
def test_takes_next_to_no_more_than_the_entropy(alphabet, skew):
    """Frequencies of 12 bits cost a hundredth where many are rare; four states 16 bytes."""
    symbols = draw(40_000, alphabet, skew)
    counts = np.bincount(symbols, minlength=alphabet)
    used = counts[counts > 0]
    entropy_bytes = float((used * np.log2(used.sum() / used)).sum()) / 8
    size = len(rans.encode(symbols, rans.frequencies(counts)))
    assert entropy_bytes - 2 <= size <= 1.01 * entropy_bytes + STATES + 2


def test_what_is_certain_takes_no_word():
    symbols = np.full(5000, 3, np.uint8)
    freqs = frequencies_of(symbols, 4)
    stream = rans.encode(symbols, freqs)
    assert len(stream) == STATES
    assert decoded(stream, 5000, freqs) == symbols.tobytes()


def test_a_stream_is_what_the_specification_says():
    """One symbol of half: x = 2^16 becomes 2 x + 2048 of 4096, and no word goes out."""
    state = (1 << 16) // 2048 * 4096 + 2048
    stream = rans.encode(np.array([1], np.uint8), HALVES)
    assert stream == b"".join(x.to_bytes(4, "little") for x in (state, 1 << 16, 1 << 16, 1 << 16))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0], [4096, 0, 0]),
        ([0, 7, 0], [0, 4096, 0]),
        ([1, 1], [2048, 2048]),
        ([1, 10**9], [1, 4095]),
        ([0, 3, 1], [0, 3072, 1024]),
    ],
)
def test_frequencies(counts, expected):
    assert rans.frequencies(np.array(counts, np.int64)).tolist() == expected


@pytest.mark.parametrize("alphabet", [1, 3, 200, 256])
@pytest.mark.parametrize("skew", [0, 1, 4, 8])
def test_frequencies_add_up(alphabet, skew):
    counts = np.round(1e9 * np.arange(1, alphabet + 1) ** -float(skew)).astype(np.int64)
    freqs = rans.frequencies(counts)
    assert freqs.sum() == rans.SCALE
    assert ((freqs > 0) == (counts > 0)).all()


def test_truncated_anywhere():
    symbols = draw(300, 5, 1)
    freqs = frequencies_of(symbols, 5)
    stream = rans.encode(symbols, freqs)
    for length in range(len(stream)):
        with pytest.raises(FormatError, match=r"^layer 'a': map stream: ") as caught:
            decoded(stream[:length], 300, freqs)
        assert isinstance(caught.value, StreamEndError if length % 2 == 0 else FormatError)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stream", "count", "error", "message"),
    [
        (b"", 1, StreamEndError, "ends within its states"),
        (bytes(15), 1, StreamEndError, "ends within its states"),
        (bytes(17), 1, TrailingBitsError, "has half a word"),
        (b"\1", 0, TrailingBitsError, "has 1 bytes for no symbols"),
        (bytes(16), 9, StreamEndError, "ends at symbol 0 of 9"),
        (bytes(18), 9, StreamEndError, "ends at symbol 1 of 9"),
        (b"\0\0\1\0" * 4 + b"ab" * 3, 0, TrailingBitsError, "has 22 bytes for no symbols"),
        (b"\0\0\2\0" * 4 + b"ab" * 3, 4, TrailingBitsError, "goes on for 3 words"),
        (b"\0\0\3\0" * 4, 4, RansStateError, "its states do not end where they began"),
        (b"\xff" * 16, 1, RansStateError, "its states do not end where they began"),
    ],
)
def test_what_is_no_stream(stream, count, error, message):
    with pytest.raises(error, match=f"^layer 'a': map stream: {message}$"):
        decoded(stream, count)


def test_any_flipped_bit_changes_the_symbols_or_is_refused():
    symbols = draw(60, 3, 1)
    freqs = frequencies_of(symbols, 3)
    stream = rans.encode(symbols, freqs)
    for place in range(8 * len(stream)):
        broken = bytearray(stream)
        broken[place // 8] ^= 1 << place % 8
        try:
            found = decoded(broken, 60, freqs)
        except FormatError:
            continue
        assert found != symbols.tobytes()
