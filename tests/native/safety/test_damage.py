"""Damaged containers: the native reader says of each what the Python one says."""

import random
from pathlib import Path

import pytest

from sigdca.codec import layout_v2
from sigdca.codec.layout import Coder, Kind, Part, get_table, put_file, version_of
from sigdca.codec.text_model import get_bytes, put_bytes
from sigdca.codec.varint import get_varint, put_varint
from sigdca.errors import FormatError

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SEEDS = [path.read_bytes() for path in sorted(GOLDEN.glob("*/*.dca"))]
# Of version 2, without those of more weights than both readers are asked for.
SMALL = [
    data
    for path in sorted(GOLDEN.glob("v2/*.dca"))
    if len(data := path.read_bytes()) < 4000 and "two-chunks" not in path.stem
]
TEXTS = ["a", "b", '"', "\\", "\n", "\x01", "é", "😀", "\x7f", "'", "\xa0", "/", "{", " "]


def damage(data, rng):
    """A few bytes changed, put in, taken out or copied."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        way, at, few = rng.randrange(5), rng.randrange(len(out) + 1), rng.randrange(1, 5)
        if way == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif way == 1 and out:
            out[at % len(out)] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
        elif way == 2:
            out[at:at] = bytes(rng.choice([0, 128, 255, rng.randrange(256)]) for _ in range(few))
        elif way == 3:
            del out[at : at + few]
        elif out:
            source = rng.randrange(len(out))
            out[at:at] = out[source : source + few]
    return bytes(out)


def damaged(data, rng):
    """The container with a section damaged, exchanged or left out, and right checksums."""
    try:
        version = version_of(memoryview(data))
        table = get_table(memoryview(data))
    except FormatError:
        return damage(data, rng)
    if version != 1:
        return damage(data, rng)
    parts = [Part(s.kind, s.tensor, data[s.offset : s.offset + s.length]) for s in table]
    if not parts or rng.random() < 0.05:
        return damage(data, rng)
    index = rng.randrange(len(parts))
    if rng.random() < 0.05:
        del parts[index]
    else:
        changed = parts[index]
        parts[index] = Part(changed.kind, changed.tensor, damage(changed.payload, rng))
    return put_file(parts)


@pytest.mark.parametrize("seed", range(10))
def test_says_of_damage_what_the_python_reader_says(seed, assert_same):
    rng = random.Random(seed)
    for _ in range(500):
        assert_same(damaged(rng.choice(SEEDS), rng))


@pytest.mark.parametrize("seed", range(4))
def test_says_the_same_of_metadata(seed, assert_same):
    rng = random.Random(seed)
    whole = (GOLDEN / "v1/all-equal.dca").read_bytes()
    parts = [
        Part(s.kind, s.tensor, whole[s.offset : s.offset + s.length])
        for s in get_table(memoryview(whole))
        if s.kind != Kind.METADATA
    ]
    for _ in range(300):
        keys = sorted({"".join(rng.choices(TEXTS, k=rng.randrange(4))) for _ in range(3)})
        pairs = [f"{_json(key)}:{_json(rng.choice(TEXTS))}" for key in keys]
        text = "{" + ",".join(pairs) + "}"
        content = text.encode() if rng.random() < 0.4 else damage(text.encode(), rng)
        assert_same(put_file([parts[0], Part(Kind.METADATA, None, content), *parts[1:]]))


def _json(text):
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\x01": "\\u0001"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def damaged_v2(data, rng):
    """As `damaged`, of version 2; what is coded is damaged before or after it is coded."""
    table = layout_v2.get_table(memoryview(data))
    parts = [Part(s.kind, s.tensor, data[s.offset : s.offset + s.length], s.coder) for s in table]
    index = rng.randrange(len(parts))
    changed = parts[index]
    payload = damage(changed.payload, rng)
    if changed.kind is not Kind.LAYER and rng.random() < 0.8:
        count, at = get_varint(changed.payload, 0, "")
        plain = damage(get_bytes(changed.payload[at:], count, "", 1 << 16), rng)
        payload = put_varint(len(plain)) + put_bytes(plain)
    if rng.random() < 0.05:
        del parts[index]
    else:
        parts[index] = Part(changed.kind, changed.tensor, payload, changed.coder)
    return layout_v2.put_file(parts)


@pytest.mark.parametrize("seed", range(4))
def test_says_the_same_of_damage_to_version_2(seed, assert_same):
    rng = random.Random(seed)
    for _ in range(150):
        assert_same(damaged_v2(rng.choice(SMALL), rng))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("coder", ["rans", "sparse"])
def test_says_the_same_of_damaged_chunks(coder, seed, assert_same):
    """Of what lies within a chunk, or the head: what is damaged has its length."""
    rng = random.Random(seed)
    structures = {"rans": Coder.RANS, "sparse": Coder.SPARSE}
    seeds = [data for data in SMALL if coders_of(data)[-1] is structures[coder]]
    assert len(seeds) > 2
    for _ in range(150):
        assert_same(damaged_chunk(rng.choice(seeds), rng))


def coders_of(data):
    return [section.coder for section in layout_v2.get_table(memoryview(data))]


def damaged_chunk(data, rng):
    """The container with the last layer's head or only chunk damaged, and right lengths."""
    *others, layer = layout_v2.get_table(memoryview(data))
    parts = [Part(s.kind, s.tensor, data[s.offset : s.offset + s.length], s.coder) for s in others]
    payload = data[layer.offset : layer.offset + layer.length]
    pieces, at = [], 0
    while at < len(payload):
        length, at = get_varint(payload, at, "")
        pieces.append(payload[at : at + length])
        at += length
    index = rng.choice([0, *range(1, len(pieces)), *range(1, len(pieces))])
    pieces[index] = damage(pieces[index], rng)
    if rng.random() < 0.05:
        pieces.append(b"")
    payload = b"".join(put_varint(len(piece)) + piece for piece in pieces)
    return layout_v2.put_file([*parts, Part(layer.kind, layer.tensor, payload, layer.coder)])
