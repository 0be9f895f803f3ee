"""Version 2: layers whose weight's levels lie in chunks, sparse or by rANS."""

from contextlib import suppress

import numpy as np
from cases_v2 import HALF, NAN, ONE, TWO, layer, net, number

from sigdca.codec import rans
from sigdca.codec.arithmetic import Encoder
from sigdca.codec.errors import LevelError
from sigdca.codec.layout import Coder
from sigdca.codec.levels import Limits, code_levels
from sigdca.codec.sparse import code_sparse
from sigdca.codec.varint import put_varint

# The layer has 2 x 5 weights, and one chunk. Its values are -0.5 and 0.5.
SIZE = 10
MAP, GAPS = 0, 2
FREQS = {  # of the structure's symbols: bytes of a map, and zeros of two bits
    MAP: {0b10000000: 1000, 0b00000001: 2000, 0b11000000: 1000, 0b00100000: 96},
    GAPS: {0: 2000, 1: 1000, 2: 96, 3: 1000},
}
RANKS = {0: 2048, 1: 2048}
GOOD_MAP = (0b10000000, 0b11000000)  # weights 0, 8 and 9
GOOD_GAPS = (0, 3, 3, 1, 0)  # the same


def line(alphabet, freqs):
    counts = np.zeros(alphabet, np.int32)
    counts[list(freqs)] = list(freqs.values())
    return counts


def head(*, limits=(1, 1), form=2, structure=None, freqs=None, ranks=None, book=()):
    """A bias of zeros, the weight's values, and with rANS the frequencies."""
    coder = Encoder()
    coder.plain(0, 2)
    coder.plain(form, 2)
    if form == 2:
        coder.plain(HALF, 16)
    if form in (2, 3):
        number(coder, limits[0])
        number(coder, limits[1])
    for bits in book:
        coder.plain(bits, 32)
    if structure is not None:
        coder.plain(structure, 4)
        alphabet = 1 << structure if structure else 256
        of_structure = FREQS.get(structure, {}) if freqs is None else freqs
        for counts in (
            line(alphabet, of_structure),
            line(sum(limits), RANKS if ranks is None else ranks),
        ):
            levels = counts.reshape(1, -1)
            code_levels(coder, levels, 0, Limits(0, max(4096, int(levels.max()))), "")
    return coder.finish()


def section(begin, chunks, length=None):
    return put_varint(len(begin) if length is None else length) + begin + chunks


def chunk(content, length=None):
    return put_varint(len(content) if length is None else length) + content


def places(structure, symbols):
    return rans.encode(np.array(symbols, np.uint8), line(256, FREQS[structure]))


def ranks_of(*symbols):
    return rans.encode(np.array(symbols, np.uint8), line(2, RANKS))


def content(symbols, *, levels=None, structure=MAP, count=None, length=None, stream=None):
    """A chunk's: how many gaps, the structure's stream with its length, the ranks' stream."""
    if stream is None:
        stream = places(structure, symbols)
    size = put_varint(len(stream) if length is None else length)
    if structure == GAPS:
        size = put_varint(len(symbols) if count is None else count) + size
    return size + stream + (ranks_of(0, 1, 1) if levels is None else levels)


def by_map(inside, **changes):
    return net(layer(section(head(structure=MAP, **changes), chunk(inside)), Coder.RANS))


def by_gaps(inside, **changes):
    return net(layer(section(head(structure=GAPS, **changes), chunk(inside)), Coder.RANS))


def sparse_stream(weights=((0, 1), (8, -1), (9, 1)), count=None, limits=(1, 1)):
    coder = Encoder()
    coder.plain(len(weights) if count is None else count, 32)
    where, levels = (list(part) for part in zip(*weights, strict=True))
    with suppress(LevelError):  # an encoder notices as well, but it is written by then
        code_sparse(coder, where, levels, 2**32, Limits(*limits), "")
    return coder.finish()


def sparse(inside=None, limits=(1, 1)):
    inside = sparse_stream() if inside is None else inside
    return net(layer(section(head(limits=limits), chunk(inside)), Coder.SPARSE))


def coded_by(coder, form, values=()):
    """A layer whose form has no values to share."""
    return net(layer(section(head(form=form, book=values), chunk(b"")), coder))


WHOLE = section(head(), chunk(sparse_stream()))
ALL_RANKS = dict.fromkeys(range(256), 16)

# name, the error it must give, what it is, the file
CASES = [
    (
        "v2-head-long",
        "SectionLengthError",
        "a head longer than its section",
        net(layer(section(head(), b"", length=99), Coder.SPARSE)),
    ),
    ("v2-head-none", "VarintError", "a chunked section of no bytes", net(layer(b"", Coder.RANS))),
    (
        "v2-head-behind",
        "TrailingBitsError",
        "a head that goes on",
        net(layer(section(head() + b"\7" * 9, chunk(sparse_stream())), Coder.SPARSE)),
    ),
    (
        "v2-chunk-none",
        "VarintError",
        "no chunk",
        net(layer(section(head(), b""), Coder.SPARSE)),
    ),
    (
        "v2-chunk-long",
        "SectionLengthError",
        "a chunk longer than what is left",
        net(layer(section(head(), chunk(sparse_stream(), 2**32 - 1)), Coder.SPARSE)),
    ),
    (
        "v2-chunk-behind",
        "SectionLengthError",
        "a byte behind the last chunk",
        net(layer(WHOLE + b"\0", Coder.SPARSE)),
    ),
    ("v2-chunk-zeros", "CodebookError", "chunks of a weight of zeros", coded_by(Coder.SPARSE, 0)),
    (
        "v2-chunk-raw",
        "CodebookError",
        "chunks of a weight that is written out",
        coded_by(Coder.RANS, 1, (ONE,) * SIZE),
    ),
    (
        "v2-chunk-raw-nan",
        "ValueRangeError",
        "the same, with a weight that is not a number",
        coded_by(Coder.RANS, 1, (ONE, NAN) * (SIZE // 2)),
    ),
    (
        "v2-rans-structure-1",
        "GapBitsError",
        "gap symbols of one bit",
        net(layer(section(head(structure=1), chunk(b"")), Coder.RANS)),
    ),
    *(
        (
            f"v2-rans-structure-{structure}",
            "GapBitsError",
            f"gap symbols of {structure} bits",
            net(layer(section(head(structure=structure), chunk(b"")), Coder.RANS)),
        )
        for structure in range(9, 16)
    ),
    (
        "v2-rans-few",
        "FrequencyError",
        "frequencies of the map that add up to 4095",
        by_map(content(GOOD_MAP), freqs=FREQS[MAP] | {0b00100000: 95}),
    ),
    (
        "v2-rans-many",
        "FrequencyError",
        "frequencies of gaps that add up to 16384",
        by_gaps(b"", freqs=dict.fromkeys(range(4), 4096)),
    ),
    (
        "v2-rans-none",
        "FrequencyError",
        "no frequency of a level above 0",
        by_map(content(GOOD_MAP), ranks={}),
    ),
    (
        "v2-rans-large",
        "LevelError",
        "a frequency of 4097",
        by_map(content(GOOD_MAP), ranks={0: 4097}),
    ),
    (
        "v2-rans-257-values",
        "CodebookError",
        "a grid of 257 values with rANS",
        by_map(content(GOOD_MAP), limits=(128, 129), ranks=ALL_RANKS),
    ),
    (
        "v2-rans-257-book",
        "CodebookError",
        "a codebook of 257 values with rANS",
        by_map(b"", form=3, limits=(0, 257), book=range(ONE, ONE + 257), ranks=ALL_RANKS),
    ),
    (
        "v2-rans-book-down",
        "CodebookError",
        "a codebook that descends, with rANS",
        by_map(content(GOOD_MAP), form=3, limits=(0, 2), book=(TWO, ONE)),
    ),
    (
        "v2-gaps-no-count",
        "VarintError",
        "a chunk of gaps of no bytes",
        by_gaps(b""),
    ),
    (
        "v2-gaps-many",
        "SymbolCountError",
        "eleven gaps among ten weights",
        by_gaps(content(GOOD_GAPS, structure=GAPS, count=11)),
    ),
    (
        "v2-gaps-bomb",
        "SymbolCountError",
        "4 billion gaps",
        by_gaps(content(GOOD_GAPS, structure=GAPS, count=2**32 - 1)),
    ),
    (
        "v2-gaps-long",
        "StreamEndError",
        "a gap stream longer than what is left",
        by_gaps(content(GOOD_GAPS, structure=GAPS, length=2**32 - 1)),
    ),
    (
        "v2-gaps-filler",
        "GapEndError",
        "a filler behind the last gap",
        by_gaps(content((*GOOD_GAPS[:3], 3), structure=GAPS)),
    ),
    (
        "v2-gaps-overrun",
        "GapOverrunError",
        "gaps that lead behind the end",
        by_gaps(content((0, 3, 3, 2, 0), structure=GAPS)),
    ),
    (
        "v2-gaps-and-no-levels",
        "TrailingBitsError",
        "levels of no weights",
        by_gaps(content((), structure=GAPS)),
    ),
    (
        "v2-map-no-length",
        "VarintError",
        "a chunk with a map of no bytes",
        by_map(b""),
    ),
    (
        "v2-map-long",
        "StreamEndError",
        "a map longer than what is left",
        by_map(content(GOOD_MAP, length=1000)),
    ),
    (
        "v2-map-overrun",
        "GapOverrunError",
        "a bit of the map behind the last weight",
        by_map(content((0b10000000, 0b00100000), levels=ranks_of(0, 1))),
    ),
    (
        "v2-rans-states",
        "StreamEndError",
        "a stream that ends within its states",
        by_map(content((), stream=bytes(15))),
    ),
    (
        "v2-rans-words-missing",
        "StreamEndError",
        "a word is missing",
        by_map(content((), stream=bytes(16))),
    ),
    (
        "v2-rans-words-behind",
        "TrailingBitsError",
        "words are left over",
        by_map(content((), stream=places(MAP, GOOD_MAP) + b"abcd")),
    ),
    (
        "v2-rans-half-a-word",
        "TrailingBitsError",
        "half a word",
        by_map(content(GOOD_MAP, levels=ranks_of(0, 1, 1) + b"a")),
    ),
    (
        "v2-rans-state",
        "RansStateError",
        "a state that does not end where it began",
        by_map(content(GOOD_MAP, levels=ranks_of(0, 1, 1)[:12] + b"\1\0\1\0")),
    ),
    (
        "v2-rans-levels-few",
        "StreamEndError",
        "levels of two weights for three",
        by_map(content(GOOD_MAP, levels=ranks_of(0, 1))),
    ),
    (
        "v2-rans-levels-none",
        "StreamEndError",
        "no levels",
        by_map(content(GOOD_MAP, levels=b"")),
    ),
    (
        "v2-sparse-many",
        "SymbolCountError",
        "eleven of ten weights",
        sparse(sparse_stream(count=11)),
    ),
    (
        "v2-sparse-empty",
        "SymbolCountError",
        "a chunk of no bytes, which are as many ones as one likes",
        sparse(b""),
    ),
    (
        "v2-sparse-overrun",
        "GapOverrunError",
        "zeros that lead behind the end",
        sparse(sparse_stream(((0, 1), (10, 1)))),
    ),
    (
        "v2-sparse-far",
        "GapOverrunError",
        "2^31 zeros",
        sparse(sparse_stream(((2**31 - 1, 1),))),
    ),
    (
        "v2-sparse-level-beyond",
        "LevelError",
        "level 3 of a weight that has 2 values",
        sparse(sparse_stream(((0, 3),), limits=(0, 2)), limits=(0, 2)),
    ),
    (
        "v2-sparse-behind",
        "TrailingBitsError",
        "bytes behind the last level",
        sparse(sparse_stream() + b"\7" * 9),
    ),
    (
        "v2-sparse-zero",
        "TrailingBitsError",
        "a zero byte behind the last level",
        sparse(sparse_stream() + b"\0"),
    ),
]
