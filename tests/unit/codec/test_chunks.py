from contextlib import suppress

import numpy as np
import pytest

from sigdca.codec import rans, values
from sigdca.codec.chunks import Target, get_rans, get_sparse, put_rans, put_sparse
from sigdca.codec.coders import open_coder
from sigdca.codec.errors import (
    CodebookError,
    FrequencyError,
    GapBitsError,
    GapEndError,
    GapOverrunError,
    LevelError,
    RansStateError,
    SectionLengthError,
    StreamEndError,
    SymbolCountError,
    TrailingBitsError,
    VarintError,
)
from sigdca.codec.levels import Limits
from sigdca.codec.values import share
from sigdca.codec.varint import put_varint
from sigdca.errors import FormatError

WHERE = "layer 'a'"
BOTH = pytest.mark.parametrize("fast", [True, False], ids=["library", "python"])
ROWS, COLUMNS = 12, 50


def draw(density, spread=2, seed=0):
    """Levels of 12 rows; those from the fourth to the ninth are zeros."""
    rng = np.random.default_rng(seed)
    weights = np.rint(rng.normal(0, spread, ROWS * COLUMNS))
    weights[rng.random(ROWS * COLUMNS) >= density] = 0
    weights[3 * COLUMNS : 9 * COLUMNS] = 0
    weights[:2] = 1, -1
    return (weights + 0.0).astype(np.float32)


def put(coder, weights, threads=1, fast=True):
    """The head of a rANS section, the chunks, and what a reader knows besides."""
    shared = share(weights, ROWS, fast=fast)
    limits = Limits(max(0, -int(shared.levels[0])), max(0, int(shared.levels[-1])))
    known = np.delete(
        np.arange(-limits.negative, limits.positive + 1, dtype=np.float32), limits.negative
    )
    head = open_coder(None, "", fast=fast)
    if coder == "rans":
        chunks = put_rans(head, shared.pieces, limits, threads, fast)
    else:
        chunks = put_sparse(shared.pieces, limits, threads, fast)
    return head.finish(), chunks, known, limits


def get(head, chunks, known, limits, *, size=ROWS * COLUMNS, rows=ROWS, threads=1, fast=True):
    target = Target(np.zeros(size, np.float32), np.zeros(len(known), np.bool_), known, limits)
    if head:
        coder = open_coder(memoryview(head), f"{WHERE}: head", fast=fast)
        get_rans(coder, memoryview(chunks), rows, target, WHERE, threads, fast)
        coder.finish()
    else:
        get_sparse(memoryview(chunks), rows, target, WHERE, threads, fast)
    assert set(known[target.used]) == set(target.weights[target.weights != 0])
    return target.weights


@pytest.mark.parametrize("coder", ["sparse", "rans"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("chunk", [1, 100, 170, 10**6])
def test_weights_come_back(coder, density, chunk, monkeypatch):
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", chunk)
    weights = draw(density)
    written = [put(coder, weights, threads, fast) for threads, fast in [(1, 1), (5, 1), (2, 0)]]
    assert [part[:2] for part in written] == [written[0][:2]] * 3
    for threads, fast in [(1, True), (3, True), (1, False)]:
        found = get(*written[0], threads=threads, fast=fast)
        assert found.tobytes() == weights.tobytes()


def test_many_weights_take_a_map_and_few_take_gaps():
    rng = np.random.default_rng(1)

    def structure(density):
        weights = (rng.random(ROWS * COLUMNS) < density).astype(np.float32)
        return open_coder(memoryview(put("rans", weights)[0]), "").plain(0, 4)

    assert structure(0.5) == 0
    assert 2 <= structure(0.05) <= 8


@pytest.mark.parametrize(("coder", "density"), [("sparse", 0.1), ("rans", 0.1), ("rans", 0.9)])
def test_truncated_anywhere(coder, density, monkeypatch):
    """Lengths are right but the last chunk's: each cut is refused, or leads elsewhere."""
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", 10**6)
    weights = draw(density)
    head, chunks, known, limits = put(coder, weights)
    start = 2 if len(chunks) > 129 else 1
    for length in range(len(chunks) - start):
        cut = put_varint(length) + chunks[start : start + length]
        verdicts = []
        for fast in (True, False):
            try:
                verdicts.append(get(head, cut, known, limits, fast=fast).tobytes())
            except FormatError as error:
                verdicts.append((type(error), str(error)))
        assert verdicts[0] == verdicts[1]
        assert verdicts[0] != weights.tobytes()


# One value, below a map or gaps of two bits; all of eight weights but the first two are zero.
KNOWN, LIMITS = np.float32([1]), Limits(0, 1)
ALWAYS = rans.encode(np.zeros(2, np.uint8), np.int32([4096]))


def freqs_of(alphabet, **of_symbol):
    line = np.zeros(alphabet, np.int32)
    for symbol, freq in of_symbol.items():
        line[int(symbol[1:])] = freq
    return line


MAP = freqs_of(256, s192=4000, s255=96)
GAPS = freqs_of(4, s0=2000, s1=96, s3=2000)
LEVELS = np.int32([4096])


def head_of(structure, freqs, level_freqs=LEVELS, limit=4096):
    coder = open_coder(None, "")
    coder.plain(structure, 4)
    for line in (freqs, level_freqs):
        coder.levels(line.reshape(1, -1), 0, Limits(0, limit), "")
    return coder.finish()


def chunk_of(places, levels=ALWAYS, count=None, length=None):
    number = b"" if count is None else put_varint(count)
    body = number + put_varint(len(places) if length is None else length) + places + levels
    return put_varint(len(body)) + body


def by_map(symbol=192, **changes):
    return chunk_of(rans.encode(np.uint8([symbol]), MAP), **changes)


def by_gaps(*symbols, **changes):
    stream = rans.encode(np.uint8(symbols), GAPS)
    return chunk_of(stream, count=changes.pop("count", len(symbols)), **changes)


@BOTH
@pytest.mark.parametrize(
    ("structure", "freqs", "chunk"), [(0, MAP, by_map()), (2, GAPS, by_gaps(0, 0))]
)
def test_a_section_put_together_by_hand(structure, freqs, chunk, fast):
    found = get(head_of(structure, freqs), chunk, KNOWN, LIMITS, size=8, rows=1, fast=fast)
    assert found.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


@BOTH
@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (b"", VarintError, "chunk 0: number at byte 0 ends early, at byte 0"),
        (b"\3ab", SectionLengthError, "chunk 0 has 3 bytes, 2 are left"),
        (by_map() + b"abc", SectionLengthError, "3 bytes follow its last chunk"),
        (b"\0", VarintError, "map stream: number at byte 0 ends early, at byte 0"),
        (by_map(length=99), StreamEndError, "map stream: has 32 bytes of 99"),
        (by_map(length=15), StreamEndError, "map stream: ends within its states"),
        (by_map(length=17), TrailingBitsError, "map stream: has half a word"),
        (by_map(length=18), TrailingBitsError, "map stream: goes on for 1 words"),
        (by_map(levels=b""), StreamEndError, "level stream: ends within its states"),
        (by_map(levels=ALWAYS + b"a"), TrailingBitsError, "level stream: has half a word"),
        (by_map(levels=ALWAYS + b"abcd"), TrailingBitsError, "level stream: goes on for 2 words"),
        (by_map(levels=b"\0\0\2\0" * 4), RansStateError, "level stream: its states do not end"),
    ],
)
def test_what_is_no_chunk_with_a_map(chunk, error, message, fast):
    with pytest.raises(error, match=f"^{WHERE}: {message}"):
        get(head_of(0, MAP), chunk, KNOWN, LIMITS, size=8, rows=1, fast=fast)


@BOTH
@pytest.mark.parametrize("size", [1, 3, 6])
def test_a_map_that_leads_behind_the_end(size, fast):
    chunk = by_map(255, levels=rans.encode(np.zeros(8, np.uint8), LEVELS))
    message = f"^{WHERE}: map stream leads to weight 7, the last is {size - 1}$"
    with pytest.raises(GapOverrunError, match=message):
        get(head_of(0, MAP), chunk, KNOWN, LIMITS, size=size, rows=1, fast=fast)


@BOTH
@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (b"\0", VarintError, "gap stream: number at byte 0 ends early, at byte 0"),
        (b"\1\x00", VarintError, "gap stream: number at byte 1 ends early, at byte 1"),
        (
            by_gaps(0, 0, count=9),
            SymbolCountError,
            "gap stream promises 9 symbols, its chunk has 8 weights",
        ),
        (by_gaps(0, 0, length=99), StreamEndError, "gap stream: has 32 bytes of 99"),
        (by_gaps(0, 3), GapEndError, "gap stream: symbol 1, the last one, is a filler"),
        (
            by_gaps(3, 3, 1, 0),
            GapOverrunError,
            "gap stream leads to weight 8, the last is 7",
        ),
        (by_gaps(0, 0, 0, levels=b""), StreamEndError, "level stream: ends within its states"),
        (by_gaps(levels=b"ab"), TrailingBitsError, "level stream: has 2 bytes for no symbols"),
        (
            by_gaps(0, 0, count=0),
            TrailingBitsError,
            "gap stream: has 16 bytes for no symbols",
        ),
        (by_gaps(0, 0, count=1), RansStateError, "gap stream: its states do not end"),
    ],
)
def test_what_is_no_chunk_with_gaps(chunk, error, message, fast):
    with pytest.raises(error, match=f"^{WHERE}: {message}"):
        get(head_of(2, GAPS), chunk, KNOWN, LIMITS, size=8, rows=1, fast=fast)


@BOTH
@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (head_of(1, GAPS), GapBitsError, "symbols of 1 bits, must be 2..8, or 0 for a map"),
        (head_of(9, GAPS), GapBitsError, "symbols of 9 bits, must be 2..8, or 0 for a map"),
        (head_of(15, GAPS), GapBitsError, "symbols of 15 bits, must be 2..8, or 0 for a map"),
        (
            head_of(2, GAPS - np.int32([1, 0, 0, 0])),
            FrequencyError,
            "frequencies add up to 4095, must be 4096",
        ),
        (
            head_of(2, GAPS, np.int32([0])),
            FrequencyError,
            "frequencies add up to 0, must be 4096",
        ),
        (
            head_of(2, np.int32([4097, 0, 0, 0]), limit=4097),
            LevelError,
            "frequencies: a level is beyond its tensor's values",
        ),
        (
            head_of(2, GAPS) + b"\7" * 5,
            TrailingBitsError,
            r"head is read at byte \d+, but goes on to \d+",
        ),
    ],
)
def test_what_is_no_head(head, error, message, fast):
    with pytest.raises(error, match=f"^{WHERE}: {message}$"):
        get(head, by_gaps(0, 0), KNOWN, LIMITS, size=8, rows=1, fast=fast)


@BOTH
def test_a_rank_is_a_byte(fast):
    known = np.arange(1, 258, dtype=np.float32)
    message = f"^{WHERE}: codebook of 257 values, limit 256 with rANS$"
    with pytest.raises(CodebookError, match=message):
        get(head_of(2, GAPS), by_gaps(0, 0), known, Limits(0, 257), size=8, rows=1, fast=fast)


def sparse_chunk(count, places=(0, 1), levels=(1, 1), behind=b""):
    """Of nine weights that have two values."""
    coder = open_coder(None, "", fast=False)
    coder.plain(count, 32)
    with suppress(LevelError):  # a writer notices as well, but it is written by then
        coder.sparse(np.uint32(places), np.int32(levels), 9, Limits(0, 2))
    stream = coder.finish() + behind
    return put_varint(len(stream)) + stream


@BOTH
@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (b"\2a", SectionLengthError, "chunk 0 has 2 bytes, 1 are left"),
        (sparse_chunk(2) + b"a", SectionLengthError, "1 bytes follow its last chunk"),
        (b"\0", SymbolCountError, "promises 4294967295 weights, its chunk has 8"),
        (sparse_chunk(9), SymbolCountError, "promises 9 weights, its chunk has 8"),
        (
            sparse_chunk(2**32 - 1),
            SymbolCountError,
            "promises 4294967295 weights, its chunk has 8",
        ),
        (
            sparse_chunk(2, places=(0, 8)),
            GapOverrunError,
            "gaps lead to weight 8, the last is 7",
        ),
        (
            sparse_chunk(2, levels=(1, 3)),
            LevelError,
            "a level is beyond its tensor's values",
        ),
        (sparse_chunk(2, behind=b"\0"), TrailingBitsError, "stream ends with a zero byte"),
        (
            sparse_chunk(2, behind=b"\7" * 9),
            TrailingBitsError,
            r"stream is read at byte \d+, but goes on to \d+",
        ),
    ],
)
def test_what_is_no_sparse_chunk(chunk, error, message, fast):
    with pytest.raises(error, match=f"^{WHERE}: {message}$"):
        get(b"", chunk, np.float32([1, 2]), Limits(0, 2), size=8, rows=1, fast=fast)


def test_the_first_wrong_chunk_is_told_of(monkeypatch):
    """Lengths come before content, whoever reads; then chunks in their order."""
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", 8)
    wrong = sparse_chunk(9) + sparse_chunk(2, places=(0, 8))
    for threads in (1, 2):
        with pytest.raises(SymbolCountError):
            get(b"", wrong, KNOWN, LIMITS, size=16, rows=2, threads=threads)
        with pytest.raises(SectionLengthError):
            get(b"", wrong + b"a", KNOWN, LIMITS, size=16, rows=2, threads=threads)
