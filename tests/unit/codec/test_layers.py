import tracemalloc

import numpy as np
import pytest

from sigdca.codec import Graph, Op, layers
from sigdca.codec.coders import open_coder
from sigdca.codec.errors import SectionLengthError, ValueRangeError
from sigdca.codec.layers import Member, get_layer, members_of, put_layer
from sigdca.codec.layout import Coder

WEIGHT = Member("layer 'a'", (6, 40), 8)
BIAS = Member("layer 'a': bias", (6,), 0)


def conv(name, source, width, bias=1):
    attrs = {"out_channels": 2, "kernel": (3, width), "stride": (1, 1), "padding": (0, 0)}
    return Op("conv", name, (source,), attrs | {"dilation": (1, 1), "groups": 1, "bias": bias})


def shared(rng, size, values):
    return np.where(rng.random(size) < 0.4, rng.choice(values, size), 0).astype(np.float32)


def check(weight, bias, coder):
    """That values come back, and that library and Python write and read the same bytes."""
    coded_as, payload = put_layer([BIAS, WEIGHT], [bias, weight])
    assert coded_as is coder
    assert put_layer([BIAS, WEIGHT], [bias, weight], fast=False) == (coded_as, payload)
    got = get_layer([BIAS, WEIGHT], coded_as, memoryview(payload), "layer 'a'")
    plain = get_layer([BIAS, WEIGHT], coded_as, memoryview(payload), "layer 'a'", fast=False)
    assert [part.weights.tobytes() for part in plain] == [part.weights.tobytes() for part in got]
    assert got[0].weights.tobytes() == bias.tobytes()
    assert got[1].weights.tobytes() == weight.tobytes()
    return payload, got[1].codebook


def test_members_know_their_images():
    ops = (
        conv("c1", 0, 3),
        conv("c2", 1, 1, bias=0),
        Op("batch_norm", "bn", (2,), {"eps": 1e-5}),
        Op("flatten", "", (3,)),
        Op("fc", "f1", (4,), {"out_features": 5, "bias": 1}),
        Op("fc", "f2", (5,), {"out_features": 5, "bias": 0}),
    )
    found = members_of(Graph((1, 8, 9), 1.0, ops))
    assert [(layer, [member.name for member in members]) for layer, members in found.items()] == [
        ("c1", ["c1.bias", "c1.weight"]),
        ("c2", ["c2.weight"]),
        ("bn", ["bn.bias", "bn.running_mean", "bn.running_var", "bn.weight"]),
        ("f1", ["f1.bias", "f1.weight"]),
        ("f2", ["f2.weight"]),
    ]
    assert [members[-1].stride for members in found.values()] == [3, 0, 0, 7, 0]


def test_a_grid_is_found_in_the_values():
    rng = np.random.default_rng(1)
    levels = rng.choice([-5, -2, 2, 3, 9], 240)
    grid = (np.where(rng.random(240) < 0.3, levels, 0) * 0.1171875).astype(np.float32)
    payload, codebook = check(grid, np.zeros(6, np.float32), Coder.ARITHMETIC)
    assert np.allclose(codebook, np.float32(0.1171875) * np.array([-5, -2, 2, 3, 9]))
    names = np.float32([-0.51, -0.27, 0.23, 0.31, 0.97])  # as many values, on no grid
    other = np.where(grid != 0, names[np.searchsorted(codebook, grid) % 5], 0).astype(np.float32)
    longer, _ = check(other, np.zeros(6, np.float32), Coder.ARITHMETIC)
    assert len(longer) > len(payload) + 8  # five floats instead of one step


@pytest.mark.parametrize(
    "values",
    [
        [0.5],
        [-1e-45, 1e-45],
        [3.4e38, -3.4e38, 1.0],
        np.arange(-30, 30) * 0.25,
        np.linspace(-1, 1, 60),
        [1.0, 1.0000001],
    ],
)
def test_values_come_back(values):
    rng = np.random.default_rng(2)
    check(shared(rng, 240, values), shared(rng, 6, values), Coder.ARITHMETIC)


def test_weights_of_too_many_values_lie_raw():
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(2, 240)).astype(np.float32)
    payload, codebook = check(weight, bias[:6], Coder.RAW)
    assert payload == bias[:6].tobytes() + weight.tobytes()
    assert codebook is None


def test_biases_of_many_values_lie_in_the_stream():
    rng = np.random.default_rng(4)
    bias = rng.normal(size=6).astype(np.float32)
    payload, _ = check(np.zeros(240, np.float32), bias, Coder.ARITHMETIC)
    assert len(payload) <= 4 * 6 + 1


def test_a_raw_layer_has_its_length():
    with pytest.raises(SectionLengthError, match=r"^here: raw section has 8 bytes, not 984$"):
        get_layer([BIAS, WEIGHT], Coder.RAW, memoryview(bytes(8)), "here")


def test_an_image_may_be_wide(monkeypatch):
    monkeypatch.setattr(layers, "put_sparse", lambda *_: bytes(1 << 20))  # never smaller
    member = Member("layer 'a'", (1, 70_100), 70_000)
    weight = shared(np.random.default_rng(5), member.size, [-0.5, 0.25, 0.75])
    _, payload = put_layer([member], [weight])
    assert put_layer([member], [weight], fast=False)[1] == payload
    (got,) = get_layer([member], Coder.ARITHMETIC, memoryview(payload), "layer 'a'")
    assert got.weights.tobytes() == weight.tobytes()


@pytest.fixture
def peak():
    """The most bytes that were taken at a time since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def raw_stream(values):
    coder = open_coder(None, "")
    coder.plain(1, 2)
    for bits in np.asarray(values, np.float32).view(np.uint32).tolist():
        coder.plain(bits, 32)
    return memoryview(coder.finish())


def test_a_stream_that_ends_early_is_given_up_soon(peak):
    member = Member("layer 'a'", (1 << 12, 1 << 10), 0)
    with pytest.raises(ValueRangeError, match=r"^layer 'a': value 3 is nan, must be finite"):
        get_layer([member], Coder.ARITHMETIC, raw_stream([1, 2, 3]), "layer 'a'")
    assert peak() < 4 * member.size + (1 << 20)


@pytest.mark.parametrize("fast", [True, False])
def test_values_are_written_out_in_blocks(fast, monkeypatch):
    monkeypatch.setattr(layers, "_BLOCK", 8)
    values = np.arange(1, 22, dtype=np.float32)
    member = Member("layer 'a'", (21,), 0)
    (got,) = get_layer([member], Coder.ARITHMETIC, raw_stream(values), "", fast=fast)
    assert got.weights.tobytes() == values.tobytes()
    values[18] = -np.inf
    with pytest.raises(ValueRangeError, match=r"^layer 'a': value 18 is -inf, must be finite"):
        get_layer([member], Coder.ARITHMETIC, raw_stream(values), "", fast=fast)


def test_levels_take_little_more_room_than_their_weights(peak, monkeypatch):
    monkeypatch.setattr(layers, "_BLOCK_LEVELS", 1 << 12)
    monkeypatch.setattr(layers, "put_sparse", lambda *_: bytes(1 << 20))  # never smaller
    member = Member("layer 'a'", (1 << 8, 1 << 10), 0)
    weight = np.zeros(member.size, np.float32)
    weight[: 1 << 10] = 0.5
    weight[-1] = -1.25
    coded_as, payload = put_layer([member], [weight])
    assert coded_as is Coder.ARITHMETIC
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    (got,) = get_layer([member], coded_as, memoryview(payload), "layer 'a'")
    assert peak() - before < 2.3 * 4 * member.size
    assert got.weights.tobytes() == weight.tobytes()
    assert got.codebook.tolist() == [-1.25, 0.5]
