"""Raw weights, codebooks, indices and gaps."""

import struct

from parts import BOOK, DENSE, GAP, INDEX, bits, flip, net, shared, varint

# name, the error it must give, what it is, the file
CASES = [
    ("raw-short", "SectionLengthError", "39 weights of 40", net((DENSE, 0, bytes(156)))),
    ("raw-nan", "ValueRangeError", "a weight is NaN", net((DENSE, 0, bytes(156) + b"\xff" * 4))),
    (
        "raw-minus-0",
        "ValueRangeError",
        "a weight is -0.0",
        net((DENSE, 0, bytes(156) + b"\0\0\0\x80")),
    ),
    ("book-empty", "CodebookError", "a codebook of no value", shared(b"")),
    ("book-6-bytes", "CodebookError", "a codebook of one value and a half", shared(BOOK[:6])),
    ("book-twice", "CodebookError", "a value twice", shared(BOOK[:4] * 2)),
    ("book-0", "CodebookError", "zero in the codebook, and gaps", shared(BOOK[:4] + bytes(4))),
    (
        "book-inf",
        "ValueRangeError",
        "infinity in the codebook",
        shared(BOOK[:4] + b"\0\0\x80\x7f"),
    ),
    ("index-empty", "VarintError", "an index section of no bytes", shared(index=b"")),
    ("index-0", "SymbolCountError", "no weight, in many words", shared(index=b"\0", gap=b"\0\2")),
    ("index-few", "SymbolCountError", "3 indices for 40 weights, and no gaps", shared(gap=None)),
    (
        "index-bomb",
        "SymbolCountError",
        "4 billion indices, in no bits",
        shared(index=varint(2**32 - 1) + bits("1111 0000 1110")),
    ),
    ("index-no-table", "StreamEndError", "code lengths that end early", shared(index=b"\3")),
    (
        "index-all-absent",
        "CodeTableError",
        "no symbol has a code",
        shared(index=b"\3" + bits("1110 1110")),
    ),
    (
        "index-over",
        "CodeTableError",
        "over-subscribed code lengths",
        shared(BOOK + struct.pack("<f", 7), b"\3" + bits("1111 0000 0 0")),
    ),
    (
        "index-under",
        "CodeTableError",
        "under-subscribed code lengths",
        shared(index=b"\3" + bits("1111 0000 10 010")),
    ),
    (
        "index-one-long",
        "CodeTableError",
        "the only symbol has a code of two bits",
        shared(index=b"\3" + bits("1111 0001 1110")),
    ),
    (
        "index-17-bits",
        "CodeTableError",
        "a code of 17 bits",
        shared(index=b"\3" + bits("1111 1111 10")),
    ),
    (
        "index-0-bits",
        "CodeTableError",
        "a code of 0 bits",
        shared(index=b"\3" + bits("1111 0000 110")),
    ),
    (
        "index-early",
        "StreamEndError",
        "40 indices promised, 7 bits there",
        shared(index=b"\50" + bits("1111 0000 0"), gap=None),
    ),
    (
        "index-behind",
        "TrailingBitsError",
        "a byte behind the last index",
        shared(index=INDEX + b"\0"),
    ),
    (
        "index-padding",
        "TrailingBitsError",
        "a bit behind the last index",
        shared(index=flip(INDEX, len(INDEX) - 1)),
    ),
    ("gap-empty", "VarintError", "a gap section of no bytes", shared(gap=b"")),
    ("gap-few", "SymbolCountError", "fewer gaps than weights", shared(gap=b"\2" + GAP[1:])),
    (
        "gap-many",
        "SymbolCountError",
        "more gap symbols than the tensor has places",
        shared(gap=b"\51" + GAP[1:]),
    ),
    ("gap-no-width", "GapBitsError", "ends before the width", shared(gap=b"\16")),
    ("gap-1-bit", "GapBitsError", "symbols of 1 bit", shared(gap=b"\16\1" + GAP[2:])),
    ("gap-9-bits", "GapBitsError", "symbols of 9 bits", shared(gap=b"\16\11" + GAP[2:])),
    (
        "gap-early",
        "StreamEndError",
        "the last symbol is cut in two",
        shared(gap=b"\16\2" + bits("1111 0001 1110 0 110  1010101010 1010101010 000 1")),
    ),
    (
        "gap-overrun",
        "GapOverrunError",
        "a weight behind the tensor's end",
        shared(gap=b"\16\2" + bits("1111 0001 1110 0 110  11 0000000000 11 0 11")),
    ),
    (
        "gap-fillers-only",
        "SymbolCountError",
        "40 fillers, no weight",
        shared(gap=b"\50\2" + bits("1110 1110 1110 1111 0000")),
    ),
    (
        "gap-filler-last",
        "GapEndError",
        "a filler at the end",
        shared(gap=b"\4\2" + bits("1111 0001 1110 0 110  10 10 10 0")),
    ),
    (
        "gap-not-index",
        "SymbolCountError",
        "4 weights placed, 3 indices",
        shared(gap=b"\4\2" + bits("1111 0001 1110 0 110  10 10 10 10")),
    ),
]
