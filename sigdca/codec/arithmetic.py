"""Adaptive binary arithmetic coding with additive contexts (SPEC.md, "Arithmetic stream").

Each bit is coded with a probability that features of its surroundings give together: each feature
has a log-odds figure that is learnt along the way, and their sum is the bit's log-odds (logistic
regression on what has been coded; as in Mahoney, "Adaptive weighing of context models for lossless
data compression", 2005, with fixed weights of one). A range coder with carry (Martin 1979; as in
LZMA) turns probabilities into bytes. All in whole numbers: every machine gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sigdca.codec.errors import TrailingBitsError

Feature = tuple["Table", int]
_HALF = 1 << 15
_TOP = 1 << 24
_MASK = (1 << 32) - 1
_MAX_COUNT = 768
_MAX_SEEN = 1023
_LOOK_AHEAD = 4  # bytes that a decoder holds


class Table:
    """Features of one kind, each with its log-odds (units of 2^-16) and how often it was met."""

    __slots__ = ("counts", "logits")

    def __init__(self, size: int) -> None:
        """All as likely as not."""
        self.logits = [0] * size
        self.counts = [0] * size

    def teach(self, index: int, error: int) -> None:
        """Moves a feature's log-odds by what its bit was more than expected (units of 2^-16)."""
        count = self.counts[index]
        self.logits[index] += error * RATES[count] + _HALF >> 16
        if count < _MAX_COUNT:
            self.counts[index] = count + 1


class Counters:
    """Contexts of one kind: how many of the bits so far were ones (units of 2^-28)."""

    __slots__ = ("means", "seen")

    def __init__(self, size: int) -> None:
        """All as likely as not."""
        self.means = [1 << 27] * size
        self.seen = [0] * size

    def probability(self, index: int) -> int:
        """Of a 1, in units of 2^-16."""
        return min(max(self.means[index] >> 12, 32), 65504)

    def count(self, index: int, bit: int) -> None:
        """Takes a bit into the mean."""
        seen = self.seen[index]
        self.means[index] += ((bit << 28) - self.means[index]) * SHARES[seen] >> 16
        self.seen[index] = min(seen + 1, _MAX_SEEN)


class Coder(Protocol):
    """Codes bits: an encoder takes them, a decoder gives them. A model serves both."""

    def bit(self, bit: int, *features: Feature) -> int:
        """Codes a bit whose probability its features give, and teaches them.

        Args:
            bit: 0 or 1; a decoder ignores it.
            features: at least one.

        Returns:
            The bit.
        """

    def plain(self, value: int, num_bits: int) -> int:
        """Codes the lowest bits of a number, from the top one down, all as likely as not."""


class CountingCoder(Coder, Protocol):
    """A coder that has counters as well."""

    def counted(self, bit: int, counters: Counters, index: int) -> int:
        """Codes a bit by the counter of its context, and counts it."""


def _probabilities() -> list[int]:
    """Of a 1, in units of 2^-16, for log-odds of -8 to 8 in steps of 1/256.

    By products and quotients alone, which every IEEE 754 machine rounds alike.
    """
    growth, odds = 1.0039138893383475734, 1.0  # e^(1/256), 1
    ascending = []
    for _ in range(2048):
        ascending.append(int(65536.0 * (odds / (1.0 + odds)) + 0.5))
        odds *= growth
    descending = [65536 - value for value in ascending[1:]] + [22]
    return [min(max(value, 32), 65504) for value in [*descending[::-1], *ascending]]


PROBABILITIES = _probabilities()
SHARES = [(2 << 16) // (2 * seen + 3) for seen in range(_MAX_SEEN + 1)]
RATES = [(16 << 16) // (32 + count) for count in range(_MAX_COUNT + 1)]


class _Model:
    def _probability(self, features: Sequence[Feature]) -> int:
        total = 0
        for table, index in features:
            total += table.logits[index]
        return PROBABILITIES[min(max(total >> 8, -2048), 2047) + 2048]

    def _teach(self, features: Sequence[Feature], bit: int, probability: int) -> None:
        error = (bit << 16) - probability
        for table, index in features:
            table.teach(index, error)


class Encoder(_Model):
    """Bits to bytes."""

    def __init__(self) -> None:
        self._low, self._range = 0, _MASK
        self._out = bytearray()

    def bit(self, bit: int, *features: Feature) -> int:
        """See `Coder`."""
        probability = self._probability(features)
        self._split(bit, probability)
        self._teach(features, bit, probability)
        return bit

    def counted(self, bit: int, counters: Counters, index: int) -> int:
        """See `Coder`."""
        self._split(bit, counters.probability(index))
        counters.count(index, bit)
        return bit

    def plain(self, value: int, num_bits: int) -> int:
        """See `Coder`."""
        for shift in range(num_bits - 1, -1, -1):
            self._split(value >> shift & 1, _HALF)
        return value

    def finish(self) -> bytes:
        """The stream: as few bytes as tell it from all others, the zeros at its end left out."""
        for cut in (24, 16, 8, 0):
            value = (self._low + (1 << cut) - 1) >> cut << cut
            if value < self._low + self._range:
                break
        self._carry(value)
        self._out += (value & _MASK).to_bytes(4, "big")
        return bytes(self._out).rstrip(b"\0")

    def _split(self, bit: int, probability: int) -> None:
        bound = (self._range >> 16) * probability
        if bit:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        while self._range < _TOP:
            self._carry(self._low)
            self._out.append(self._low >> 24 & 255)
            self._low = self._low << 8 & _MASK
            self._range = self._range << 8 & _MASK

    def _carry(self, low: int) -> None:
        """Adds a carry to the bytes that are out."""
        if low > _MASK:
            at = len(self._out) - 1
            while self._out[at] == 255:
                self._out[at] = 0
                at -= 1
            self._out[at] += 1


class Decoder(_Model):
    """Bytes to bits."""

    def __init__(self, data: bytes | memoryview, where: str) -> None:
        """Reads a stream; behind its end there are zeros.

        Args:
            data: the stream, whole.
            where: what it is, the opening of every message.
        """
        self._data, self._where = bytes(data), where
        self._at, self._range = _LOOK_AHEAD, _MASK
        self._code = int.from_bytes(self._data[:_LOOK_AHEAD].ljust(_LOOK_AHEAD, b"\0"), "big")

    def bit(self, bit: int, *features: Feature) -> int:
        """See `Coder`."""
        probability = self._probability(features)
        bit = self._split(probability)
        self._teach(features, bit, probability)
        return bit

    def counted(self, bit: int, counters: Counters, index: int) -> int:
        """See `Coder`."""
        bit = self._split(counters.probability(index))
        counters.count(index, bit)
        return bit

    def plain(self, value: int, num_bits: int) -> int:
        """See `Coder`."""
        value = 0
        for _ in range(num_bits):
            value = value << 1 | self._split(_HALF)
        return value

    def finish(self) -> None:
        """Makes sure that the stream is read to its end.

        Raises:
            TrailingBitsError: it goes on, or ends with a zero byte.
        """
        if self._at < len(self._data):
            raise TrailingBitsError(
                f"{self._where} is read at byte {self._at}, but goes on to {len(self._data)}"
            )
        if self._data[-1:] == b"\0":
            raise TrailingBitsError(f"{self._where} ends with a zero byte")

    def _split(self, probability: int) -> int:
        bound = (self._range >> 16) * probability
        bit = int(self._code < bound)
        if bit:
            self._range = bound
        else:
            self._code -= bound
            self._range -= bound
        while self._range < _TOP:
            following = self._data[self._at] if self._at < len(self._data) else 0
            self._at += 1
            self._code = (self._code << 8 | following) & _MASK
            self._range = self._range << 8 & _MASK
        return bit
