"""Deltas: what was tuned comes out to the bit, and what is no delta is refused by name."""

import hashlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.codec import Graph, Op, decode_container, encode_container
from sigdca.edge import delta as module
from sigdca.edge.delta import (
    Change,
    DeltaError,
    Evidence,
    WrongBaseError,
    apply_delta,
    make_delta,
    read_delta,
    rounded,
    with_tensors,
)

HEAD = struct.Struct("<8sH32s32sIIIII")
GRAPH = Graph(
    (1, 6, 6),
    1 / 256,
    (
        Op("flatten", "", (0,)),
        Op("fc", "a", (1,), {"out_features": 12, "bias": 1}),
        Op("relu", "", (2,)),
        Op("fc", "b", (3,), {"out_features": 3, "bias": 0}),
    ),
)
VALUES = np.array([-0.5, -0.25, 0.125, 0.75], np.float32)
EVIDENCE = Evidence(40, 10, 3, 9)


def tensors_of(seed: int = 0) -> dict[str, np.ndarray]:
    """Shared sparse weights, a bias of different values, and a layer of one value."""
    rng = np.random.default_rng(seed)
    weight = VALUES[rng.integers(0, 4, (12, 36))]
    weight[rng.random(weight.shape) < 0.7] = 0
    bias = rng.standard_normal(12).astype(np.float32)
    return {"a.weight": weight, "a.bias": bias, "b.weight": np.full((3, 12), 0.5, np.float32)}


def base_of(coder: str = "huffman", **changed: np.ndarray) -> bytes:
    tensors = tensors_of() | {name.replace("_", "."): new for name, new in changed.items()}
    return encode_container(GRAPH, tensors, coder=coder, metadata={"model": "tiny"})


BASE = base_of()


def tied(tensors: dict[str, np.ndarray], near: bool = True) -> dict[str, np.ndarray]:
    """Other values, the same ties."""
    weight, values = tensors["a.weight"], VALUES + np.float32(0.01)
    if near:
        values = rounded(VALUES, values)
    new = np.zeros_like(weight)
    for old, value in zip(VALUES, values, strict=True):
        new[weight == old] = value
    return tensors | {"a.weight": new}


def moved(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same values, but some weights take another."""
    weight = tied(tensors)["a.weight"].copy()
    first, second = np.flatnonzero(weight)[[0, 5]]
    values = np.unique(weight[weight != 0])
    weight.flat[first], weight.flat[second] = values[0], values[3]
    return tensors | {"a.weight": weight}


def forged(body: bytes, base: bytes = BASE, **changes: object) -> bytes:
    """A delta with a sound checksum, whatever it says."""
    told = {"magic": module.MAGIC, "version": 1, "counts": (0, 0, 0, 0), "size": len(body)}
    told |= {"result": b"\0" * 32, "packed": zlib.compress(body)} | changes
    sha256 = hashlib.sha256(base).digest()
    fields = (told["magic"], told["version"], sha256, told["result"], *told["counts"])
    data = HEAD.pack(*fields, told["size"]) + told["packed"]
    return data + struct.pack("<I", zlib.crc32(data))


@pytest.mark.parametrize(
    ("coder", "change"),
    [
        ("huffman", tied),
        ("huffman", moved),
        ("huffman", lambda tensors: tied(tensors, near=False)),
        ("arithmetic", moved),
        ("rans", tied),
    ],
)
def test_what_was_tuned_comes_out(coder, change):
    base = base_of(coder)
    tuned = with_tensors(base, change(tensors_of()))
    assert apply_delta(base, make_delta(base, tuned, EVIDENCE)) == tuned != base
    assert abs(len(tuned) - len(base)) <= 16, "zeros and ties are kept"


def test_a_container_of_large_rans_layers_stays_one():
    graph = Graph(
        (1, 128, 128),
        1 / 256,
        (Op("flatten", "", (0,)), Op("fc", "f", (1,), {"out_features": 2, "bias": 0})),
    )
    weight = np.random.default_rng(0).integers(-3, 4, (2, 128 * 128)).astype(np.float32)
    base = encode_container(graph, {"f.weight": weight}, coder="rans")
    assert with_tensors(base, {"f.weight": weight}) == base
    assert with_tensors(base, {"f.weight": 2 * weight})[:64] != base[:64]
    tuned = with_tensors(base, {"f.weight": 2 * weight})
    assert apply_delta(base, make_delta(base, tuned)) == tuned


def test_it_says_what_it_is():
    tuned = with_tensors(BASE, tied(tensors_of()))
    delta = make_delta(BASE, tuned, EVIDENCE)
    info = read_delta(delta)
    assert info.base_sha256 == hashlib.sha256(BASE).hexdigest()
    assert info.result_sha256 == hashlib.sha256(tuned).hexdigest()
    assert (info.num_samples, info.evidence, info.delta_bytes) == (40, EVIDENCE, len(delta))
    assert (info.accuracy_before, info.accuracy_after) == (30, 90)
    assert read_delta(make_delta(BASE, BASE)).accuracy_before is None


def test_bytes_of_the_layout():
    new = tied(tensors_of())
    delta = make_delta(BASE, with_tensors(BASE, new), EVIDENCE)
    assert delta[:10] == b"\x89DCD\r\n\x1a\n\x01\x00"
    assert struct.unpack_from("<5I", delta, 74) == (40, 10, 3, 9, 3 + 8)
    body = zlib.decompress(delta[94:-4])
    half = np.full(4, 0.01).astype("<f2").view(np.uint8).reshape(4, 2)
    close = np.frombuffer(body[3:], np.uint8).reshape(2, 4).T.copy().view("<f2").reshape(-1)
    assert list(body[:3]) == [Change.NEAR, Change.NONE, Change.NONE]
    assert np.allclose(close.astype(np.float32), half.copy().view("<f2").reshape(-1), rtol=1e-3)
    assert zlib.crc32(delta[:-4]) == struct.unpack("<I", delta[-4:])[0]


def test_a_delta_of_moves_is_small():
    delta = make_delta(BASE, with_tensors(BASE, moved(tensors_of())))
    assert len(delta) < 98 + 3 + 8 + 40


def test_values_that_meet_or_vanish_are_no_matter():
    tensors = tensors_of()
    weight = tensors["a.weight"].copy()
    weight[weight == VALUES[0]] = 0
    weight[weight == VALUES[1]] = VALUES[2]
    tuned = with_tensors(BASE, tensors | {"a.weight": weight})
    assert apply_delta(BASE, make_delta(BASE, tuned)) == tuned
    weight.flat[np.flatnonzero(weight)[0]] = 7  # three values for four, and not where they were
    tuned = with_tensors(BASE, tensors | {"a.weight": weight})
    assert apply_delta(BASE, make_delta(BASE, tuned)) == tuned


NOTHING = b"\0\0\0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing"),
        (BASE, "begins with 89 44 43 41"),
        (forged(NOTHING)[:60], "has 60 bytes"),
        (forged(NOTHING, version=2), "is of version 2"),
        (forged(NOTHING)[:-1] + b"?", "damaged"),
        (forged(NOTHING, size=2**22 + 1), "limit 4194304"),
        (forged(NOTHING, packed=b"no zlib"), "no zlib stream"),
        (forged(NOTHING, size=2), "does not inflate to the 2 bytes"),
        (forged(NOTHING, size=4), "does not inflate to the 4 bytes"),
        (forged(NOTHING, packed=zlib.compress(NOTHING) + b"x"), "does not inflate"),
        (forged(NOTHING, packed=zlib.compress(NOTHING)[:-1]), "does not inflate"),
        (forged(NOTHING, size=3, packed=zlib.compress(bytes(10**6))), "does not inflate"),
        (forged(NOTHING, counts=(1, 5, 6, 0)), "6 right of 5"),
    ],
)
def test_what_is_no_delta_is_refused(data, message):
    with pytest.raises(DeltaError, match=message):
        read_delta(data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\0\0", "body has 2 bytes, the container 3 tensors"),
        (b"\5\0\0", "'a.weight': change 5, must be 0..4"),
        (b"\1\0\0" + bytes(7), "'a.weight': needs 8 bytes, 7 are left"),
        (b"\0\0\1" + bytes(3), "body has 6 bytes, its numbers end at 5"),
        (b"\0\0\1" + b"\xff\x7f", "'b.weight': a new value is not finite"),
        (b"\0\0\2" + b"\0\0\x80\x7f", "'b.weight': a new value is not finite"),
        (b"\0\0\3" + bytes(2 + 35), "'b.weight': needs 38 bytes, 37 are left"),
        (b"\0\0\3" + bytes(2 + 35) + b"\1", "'b.weight': moves among 1 values, got 1"),
        (b"\0\0\1" + b"\0\0", "does not lead to 0000"),
    ],
)
def test_what_does_not_fit_the_container_is_refused(body, message):
    with pytest.raises(DeltaError, match=message):
        apply_delta(BASE, forged(body))


def test_moves_among_too_many_values_are_refused():
    weight = np.arange(1, 433, dtype=np.float32).reshape(12, 36)
    base = base_of(a_weight=weight)
    with pytest.raises(DeltaError, match="moves among 432 values"):
        apply_delta(base, forged(b"\3\0\0" + bytes(2 * 432 + 432), base))
    swapped = weight.copy()
    swapped[0, 0] = swapped[0, 1]
    tuned = with_tensors(base, tensors_of() | {"a.weight": swapped})
    assert apply_delta(base, make_delta(base, tuned)) == tuned, "its own value each: no move"


def test_another_base_is_refused():
    delta = make_delta(BASE, BASE)
    with pytest.raises(WrongBaseError, match="starts from the container"):
        apply_delta(base_of("arithmetic"), delta)


def test_what_a_delta_cannot_say_is_refused():
    tensors = tensors_of()
    woken = tensors["a.weight"].copy()
    woken.flat[np.flatnonzero(woken == 0)[0]] = 0.75
    many = tensors["a.weight"] * np.arange(1, 37, dtype=np.float32)
    for changed, message in (
        (encode_container(GRAPH, tensors), "differ in more than weights"),
        (with_tensors(BASE, tensors | {"a.weight": woken}), "a weight that was 0 is not"),
        (with_tensors(BASE, tensors | {"a.weight": many}), "values, limit 4"),
        (base_of("arithmetic"), "does not lead to"),
    ):
        with pytest.raises(DeltaError, match=message):
            make_delta(BASE, changed)


def test_a_body_beyond_the_limit_is_not_written(monkeypatch):
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 10)
    with pytest.raises(DeltaError, match="has 11 bytes inflated, limit 10"):
        make_delta(BASE, with_tensors(BASE, tied(tensors_of())))


def test_evidence_must_fit_the_file():
    with pytest.raises(DeltaError, match=r"num_samples must be 0\.\.4294967295, got -1"):
        Evidence(num_samples=-1)
    with pytest.raises(DeltaError, match="3 right of 2"):
        Evidence(num_held_out=2, num_right_after=3)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_change_that_keeps_zeros_and_the_number_of_values(data):
    tensors = tensors_of(data.draw(st.integers(0, 9)))
    base = with_tensors(BASE, tensors)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scale = data.draw(st.sampled_from([1e-30, 1e-5, 0.01, 1.0, 1e6, 1e30]))
    for name in data.draw(st.sets(st.sampled_from(sorted(tensors)))):
        tensor = tensors[name]
        values = np.unique(tensor[tensor != 0])
        new = (values + scale * rng.standard_normal(len(values))).astype(np.float32)
        if data.draw(st.booleans()):
            new = rounded(values, np.clip(new, values - 100, values + 100))
        places = np.flatnonzero(tensor)
        groups = np.searchsorted(values, tensor.flat[places])
        if data.draw(st.booleans()):
            groups = rng.integers(0, len(values), len(places))
        flat = np.zeros(tensor.size, np.float32)
        flat[places] = new[groups]
        tensors |= {name: flat.reshape(tensor.shape)}
    tuned = with_tensors(base, tensors)
    assert apply_delta(base, make_delta(base, tuned)) == tuned
    decoded = decode_container(tuned).tensors
    assert all(np.array_equal(decoded[name], tensors[name]) for name in tensors)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200), st.integers(1, 255), st.booleans())
def test_damage_is_never_taken(place, flip, sealed):
    delta = bytearray(make_delta(BASE, with_tensors(BASE, moved(tensors_of())), EVIDENCE))
    place %= len(delta)
    delta[place] ^= flip
    if sealed:
        delta[-4:] = struct.pack("<I", zlib.crc32(delta[:-4]))
    try:
        result = apply_delta(BASE, bytes(delta))
    except DeltaError:
        return
    # What the checksum was made anew for: only what was seen on the board may differ.
    assert sealed
    assert result == with_tensors(BASE, moved(tensors_of()))
