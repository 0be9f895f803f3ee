import math
import random

import pytest

from sigdca.codec.arithmetic import PROBABILITIES, RATES, Decoder, Encoder, Table
from sigdca.codec.errors import TrailingBitsError


def random_bits(seed, count, share):
    rng = random.Random(seed)
    return [int(rng.random() < share) for _ in range(count)]


def encoded(bits, places=1):
    coder, table = Encoder(), Table(places)
    for index, bit in enumerate(bits):
        assert coder.bit(bit, (table, index % places)) == bit
    return coder.finish()


def test_probabilities_are_the_logistic_function():
    assert len(PROBABILITIES) == 4096
    for place, value in enumerate(PROBABILITIES):
        exact = 65536 / (1 + math.exp((2048 - place) / 256))
        assert abs(value - min(max(exact, 32), 65504)) <= 0.5001
    mirrored = [65536 - value for value in PROBABILITIES[:0:-1]]
    assert PROBABILITIES[1:] == mirrored


def test_no_probability_is_near_enough_to_a_half_to_round_otherwise():
    for place in range(4096):
        exact = 65536 / (1 + math.exp((2048 - place) / 256))
        assert abs(exact % 1 - 0.5) > 1e-6


def test_what_was_met_often_learns_slowly():
    assert RATES[0] == 32768
    assert sorted(RATES, reverse=True) == RATES
    assert RATES[-1] == (16 << 16) // 800


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("count", [0, 1, 2, 31, 1000])
def test_bits_come_back(share, count):
    bits = random_bits(count, count, share)
    stream = encoded(bits, 3)
    decoder, table = Decoder(stream, "stream"), Table(3)
    assert [decoder.bit(0, (table, index % 3)) for index in range(count)] == bits
    decoder.finish()


def test_plain_numbers_come_back_between_bits():
    coder, table = Encoder(), Table(1)
    numbers = [(number * 2654435761 % 2**32, 32) for number in range(50)] + [(5, 3), (0, 0)]
    for value, size in numbers:
        coder.plain(value, size)
        coder.bit(value & 1, (table, 0))
    decoder, table = Decoder(coder.finish(), "stream"), Table(1)
    for value, size in numbers:
        assert decoder.plain(0, size) == value
        assert decoder.bit(0, (table, 0)) == value & 1
    decoder.finish()


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_bits_cost_about_their_entropy(share):
    count = 20_000
    bits = random_bits(1, count, share)
    ones = sum(bits) / count
    entropy = -count * (ones * math.log2(ones) + (1 - ones) * math.log2(1 - ones))
    assert 8 * len(encoded(bits)) < 1.03 * entropy + 100


def test_features_add_up():
    """A bit that two features decide together is learnt from both."""
    rng = random.Random(3)
    rows, columns = [rng.gauss(0, 3) for _ in range(30)], [rng.gauss(0, 3) for _ in range(30)]
    both, alone = Encoder(), Encoder()
    tables = Table(30), Table(30)
    single = Table(30)
    for _ in range(20_000):
        row, column = rng.randrange(30), rng.randrange(30)
        bit = int(rng.random() < 1 / (1 + math.exp(-rows[row] - columns[column])))
        both.bit(bit, (tables[0], row), (tables[1], column))
        alone.bit(bit, (single, row))
    assert len(both.finish()) < 0.75 * len(alone.finish())


def test_a_carry_runs_through_many_bytes():
    """Bits that push the low end to just below a power of two, then over it."""
    for seed in range(200):
        rng = random.Random(seed)
        coder, table = Encoder(), Table(1)
        bits = []
        for _ in range(120):
            bits.append(int(rng.random() < 0.02))
            coder.bit(bits[-1], (table, 0))
        for _ in range(40):
            coder.plain(0, 8)
        stream = coder.finish()
        decoder, table = Decoder(stream, "stream"), Table(1)
        assert [decoder.bit(0, (table, 0)) for _ in bits] == bits
        assert [decoder.plain(0, 8) for _ in range(40)] == [0] * 40


def test_nothing_is_no_byte():
    assert Encoder().finish() == b""
    Decoder(b"", "stream").finish()


def test_a_stream_that_goes_on_is_refused():
    stream = encoded(random_bits(1, 100, 0.5))
    for more, message in (
        (b"\1" * 9, "^here is read at byte .*, but goes on to"),
        (b"\0", "^here ends with a zero byte$"),
    ):
        decoder, table = Decoder(stream + more, "here"), Table(1)
        for _ in range(100):
            decoder.bit(0, (table, 0))
        with pytest.raises(TrailingBitsError, match=message):
            decoder.finish()
