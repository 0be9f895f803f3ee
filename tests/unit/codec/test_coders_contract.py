"""What every coder of `encode_container` promises, whoever reads: Python, library and board."""

import numpy as np
import pytest

from sigdca.codec import (
    Graph,
    Op,
    decode_container,
    encode_container,
    inspect_container,
    layers,
    values,
)
from sigdca.codec.container import CODERS
from sigdca.codec.errors import ValueRangeError
from sigdca.codec.layout import Coder
from sigdca.errors import EngineError
from sigdca.native import Model, Session

ROWS, COLUMNS = 30, 70


def network(weights, bias=None):
    """One layer, that gives its weights as logits: an image has one pixel, of 1."""
    rows, columns = weights.shape
    fc = Op("fc", "f", (1,), {"out_features": rows, "bias": int(bias is not None)})
    tensors = {"f.weight": weights.astype(np.float32)}
    if bias is not None:
        tensors["f.bias"] = bias.astype(np.float32)
    return Graph((1, 1, columns), 1.0, (Op("flatten", "", (0,)), fc)), tensors


def kept(rng, drawn, density):
    return np.where(rng.random(drawn.shape) < density, drawn, 0)


def networks():
    rng = np.random.default_rng(0)
    shape = (ROWS, COLUMNS)
    codebook = np.sin(np.arange(1, 301))
    one = np.zeros(shape)
    one[-1, -1] = -3.25
    return {
        "raw": network(rng.normal(size=shape), rng.normal(size=ROWS)),
        "grid": network(kept(rng, np.rint(rng.normal(0, 3, shape)), 0.3) / 8),
        "codebook": network(
            kept(rng, rng.choice(codebook[:9], shape), 0.3), rng.normal(size=ROWS)
        ),
        "300-values": network(rng.choice(codebook, shape)),
        "dense-8-bit": network(rng.integers(-127, 128, shape) / 64, rng.normal(size=ROWS)),
        "very-sparse": network(kept(rng, rng.choice(codebook[:5], shape), 0.005)),
        "one-sign": network(kept(rng, rng.integers(1, 4, shape), 0.5)),
        "one-value": network(np.full(shape, 0.1)),
        "one-weight": network(one, np.zeros(ROWS)),
        "all-zero": network(np.zeros(shape), np.ones(ROWS)),
        "single": network(np.ones((1, 1))),
        "extreme": network(rng.choice(np.float32([1e-45, -1e-45, 3.4e38, -3.4e38, 0]), shape)),
    }


NETWORKS = networks()
EVERY_CODER = pytest.mark.parametrize("coder", CODERS)
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def rans_for_all(monkeypatch):
    """A layer is never too small for it."""
    monkeypatch.setattr(layers, "MIN_RANS_WEIGHTS", 1)


def lose_library(monkeypatch):
    def codec_library():
        raise EngineError("native: libsigdca-codec.so is not there")

    monkeypatch.setattr("sigdca.native.library.codec_library", codec_library)


def assert_holds(data, tensors, **options):
    container = decode_container(data, **options)
    assert list(container.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert container.tensors[name].dtype == np.float32
        assert container.tensors[name].tobytes() == (tensor + np.float32(0)).tobytes()


def logits(data, columns):
    """Those of images whose only pixel stands in one of the columns."""
    model = Model(data)
    images = np.zeros((len(columns), 1, 1, model.info.input_shape[-1]), np.uint8)
    images[range(len(columns)), 0, 0, columns] = 1
    return Session(model, profile="exact", isa="reference").run(images)


@EVERY_CODER
@EVERY_NETWORK
@pytest.mark.parametrize("chunk", [1 << 22, 10 * COLUMNS, 1], ids=["whole", "chunks", "rows"])
def test_every_reader_gives_what_was_written(coder, name, chunk, monkeypatch):
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", chunk)
    graph, tensors = NETWORKS[name]
    data = encode_container(graph, tensors, coder=coder, metadata={"a": "b"})
    for threads in (None, 1, 3):
        assert (
            encode_container(graph, tensors, coder=coder, metadata={"a": "b"}, threads=threads)
            == data
        )
        assert_holds(data, tensors, threads=threads)
    lose_library(monkeypatch)
    assert_holds(data, tensors)
    assert encode_container(graph, tensors, coder=coder, metadata={"a": "b"}) == data


@EVERY_CODER
@EVERY_NETWORK
def test_the_board_gives_what_was_written(coder, name):
    graph, tensors = NETWORKS[name]
    weights = tensors["f.weight"]
    got = logits(encode_container(graph, tensors, coder=coder), range(weights.shape[1]))
    expected = weights.T + tensors.get("f.bias", np.zeros(len(weights), np.float32))
    assert (got + np.float32(0)).tobytes() == (expected + np.float32(0)).tobytes()


@EVERY_CODER
def test_the_board_reads_layers_of_many_chunks(coder):
    rng = np.random.default_rng(1)
    drawn = np.zeros((2300, 2000), np.float32)  # over 2^22 weights
    places = rng.choice(drawn.size, 60_000, replace=False)
    drawn.flat[places] = np.sin(rng.integers(1, 20, len(places))).astype(np.float32)
    drawn[0], drawn[-1] = 1, -1
    graph, tensors = network(drawn)
    data = encode_container(graph, tensors, coder=coder)
    assert_holds(data, tensors)
    columns = [0, 1, 777, 1999]
    assert logits(data, columns).tobytes() == np.ascontiguousarray(drawn.T[columns]).tobytes()


@EVERY_CODER
def test_a_minus_zero_becomes_a_zero(coder):
    weights, bias = np.tile(np.float32([0.0, -0.0, 1.0, 2.0]), (4, 50)), np.full(4, -0.0)
    for scale in (np.float32(1), np.float32(np.pi)):
        graph, tensors = network(weights * scale, bias)
        assert np.signbit(tensors["f.weight"]).any()
        data = encode_container(graph, tensors, coder=coder)
        assert_holds(data, tensors)
        assert not np.signbit(decode_container(data).tensors["f.bias"]).any()
    raw, tensors = network(np.random.default_rng(2).normal(size=(4, 9)), bias)
    tensors["f.weight"][1, 2] = -0.0
    assert_holds(encode_container(raw, tensors, coder=coder), tensors)


@EVERY_CODER
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "where"), [("f.weight", ""), ("f.bias", " bias:")])
def test_refuses_what_is_not_finite(coder, wrong, name, where):
    graph, tensors = network(np.ones((3, 4)), np.ones(3))
    tensors[name].flat[2] = wrong
    message = f"^layer 'f':{where} weight 2 is {wrong}, must be finite$"
    with pytest.raises(ValueRangeError, match=message):
        encode_container(graph, tensors, coder=coder)


@EVERY_CODER
def test_finite_weights_whose_sum_is_not_are_taken(coder):
    graph, tensors = network(np.full((40, 50), 3e38))
    assert_holds(encode_container(graph, tensors, coder=coder), tensors)


@EVERY_CODER
@EVERY_NETWORK
def test_says_what_is_in_it(coder, name):
    graph, tensors = NETWORKS[name]
    weights = tensors["f.weight"]
    (layer,) = inspect_container(encode_container(graph, tensors, coder=coder)).layers
    assert layer.num_nonzero == np.count_nonzero(weights)
    if layer.bits < 32:
        assert layer.num_centroids == np.count_nonzero(np.unique(weights))


def coders_of(name, **options):
    graph, tensors = NETWORKS[name]
    sections = inspect_container(encode_container(graph, tensors, **options)).sections
    return {Coder(section.coder) for section in sections[1:]}


def test_the_forms_that_a_layer_takes():
    """Else the above would try less than it seems to."""
    for name in ("grid", "codebook", "dense-8-bit", "very-sparse", "one-value", "one-weight"):
        assert coders_of(name, coder="rans") == {Coder.RANS}
    assert coders_of("300-values", coder="rans") <= {Coder.ARITHMETIC, Coder.SPARSE}
    assert coders_of("raw", coder="rans") == coders_of("raw", coder="arithmetic") == {Coder.RAW}
    assert coders_of("all-zero", coder="rans") == {Coder.ARITHMETIC}
    taken = set().union(*(coders_of(name, coder="arithmetic") for name in NETWORKS))
    assert taken == {Coder.RAW, Coder.ARITHMETIC, Coder.SPARSE}


def test_a_small_layer_takes_no_rans(monkeypatch):
    monkeypatch.undo()
    assert layers.MIN_RANS_WEIGHTS > ROWS * COLUMNS
    assert Coder.RANS not in coders_of("grid", coder="rans")
