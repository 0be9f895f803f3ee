"""The native reader against the Python one: the same weights, the same errors, the same words."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import Graph, Op, decode_container, encode_container, errors, huffman, layers
from sigdca.codec.graph_bytes import put_graph
from sigdca.codec.layout import Kind, Part, put_file
from sigdca.codec.varint import put_varint
from sigdca.errors import FormatError
from sigdca.native import Model, NativeFormatError, Session
from sigdca.native.library import NativeError

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
ROW = re.compile(r"\| (\S+\.dca) \| [^|]+ \| (\w+) \| `(.*)` \|")
HOSTILE = [match.groups() for match in ROW.finditer((GOLDEN / "hostile/README.md").read_text())]
FILES = sorted(GOLDEN.glob("v*/*.dca"))
# What only an encoder can come upon.
OF_ENCODERS = {"TensorError", "CoderError"}


def test_the_statuses_are_the_named_errors(statuses):
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FormatError) and value is not FormatError
    }
    assert set(statuses.values()) == named - OF_ENCODERS


@pytest.mark.parametrize(("name", "error", "line"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_refuses_the_hostile(name, error, line, read, statuses):
    data = (GOLDEN / "hostile" / name).read_bytes()
    status, message = read(data)
    assert (statuses.get(status), message.decode()) == (error, line)


@pytest.mark.parametrize(("name", "error", "line"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_the_library_says_so(name, error, line):
    with pytest.raises(NativeFormatError, match=re.escape(line)) as caught:
        Session(Model((GOLDEN / "hostile" / name).read_bytes()))
    assert caught.value.status_name.replace("-", "") + "error" == error.lower()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_decodes_the_golden(path, assert_same):
    assert_same(path.read_bytes())


@pytest.mark.parametrize("name", ["places-two-chunks", "rans-two-chunks"])
def test_decodes_chunk_by_chunk(name, read):
    """More weights than `assert_same` lets a forged graph have."""
    data = (GOLDEN / f"v2/{name}.dca").read_bytes()
    status, got = read(data)
    assert status == 0
    tensors = decode_container(data).tensors.values()
    assert got == b"".join(tensor.tobytes() for tensor in tensors)


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.dca").write_bytes(b"")
    with pytest.raises(NativeFormatError, match="begins with nothing"):
        Model(tmp_path / "empty.dca")
    with pytest.raises(NativeError, match="cannot be opened: No such file"):
        Model(tmp_path / "none.dca")
    with pytest.raises(NativeError, match="is no file"):
        Model(tmp_path)


def net(rows, columns):
    fc = Op("fc", "f", (1,), {"out_features": rows, "bias": 1})
    return Graph((1, 1, columns), 1.0, (Op("flatten", "", (0,)), fc))


# More symbols than the reader takes at a time; codes longer and shorter than its table's bits.
@pytest.mark.parametrize("density", [0.002, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("centroids", [1, 2, 14, 300, 40_000])
@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_decodes_large_tensors(density, centroids, skew, assert_same):
    rng = np.random.default_rng(centroids)
    rows, columns = 331, 1009
    values = np.arange(1, centroids + 1, dtype=np.float32) - np.float32(centroids // 2 + 0.5)
    share = np.arange(1, centroids + 1) ** -skew
    weights = rng.choice(values, (rows, columns), p=share / share.sum())
    weights[rng.random((rows, columns)) >= density] = 0
    tensors = {"f.weight": weights, "f.bias": weights[:, 0].copy()}
    assert_same(encode_container(net(rows, columns), tensors))


@pytest.mark.parametrize("density", [0.002, 0.05, 1.0])
@pytest.mark.parametrize("centroids", [1, 2, 14, 300, 20_000])
def test_decodes_large_tensors_of_version_2(density, centroids, assert_same, monkeypatch):
    monkeypatch.setattr(layers, "MIN_RANS_WEIGHTS", 1)
    rng = np.random.default_rng(centroids)
    rows, columns = 67, 211
    values = np.arange(1, centroids + 1, dtype=np.float32) - np.float32(centroids // 2 + 0.5)
    weights = rng.choice(values, (rows, columns))
    weights[rng.random((rows, columns)) >= density] = 0
    for scale in (1.0, np.float32(np.pi)):  # on a grid, and not
        tensors = {"f.weight": weights * np.float32(scale), "f.bias": weights[:, 0].copy()}
        for coder in ("arithmetic", "rans"):
            assert_same(encode_container(net(rows, columns), tensors, coder=coder))


def sparse(size, num_symbols, stream, num_weights):
    """One row of `size` weights: two centroids, and gap symbols of two bits."""
    indices = np.resize(np.arange(2, dtype=np.uint8), num_weights)
    return put_file(
        [
            Part(Kind.GRAPH, None, put_graph(net(1, size))),
            Part(Kind.CODEBOOK, 0, struct.pack("<2f", 1, 2)),
            Part(Kind.INDICES, 0, put_varint(num_weights) + huffman.encode(indices, 2)),
            Part(Kind.GAPS, 0, put_varint(num_symbols) + b"\2" + stream),
            Part(Kind.DENSE, 1, bytes(4)),
        ]
    )


# An overrun is looked for once in 2^18 symbols: the message says how far it went until then.
@pytest.mark.parametrize("size", [300_000, 524_287, 524_288, 700_000, 899_998, 900_000, 900_001])
@pytest.mark.parametrize("gap", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_gaps_through_many_pieces(size, gap, first, assert_same):
    num_weights = 300_000
    symbols = np.full(num_weights, gap, np.uint8)
    symbols[0] = first  # where it is the same, symbols take no bits
    assert_same(sparse(size, num_weights, huffman.encode(symbols, 4), num_weights))


def test_fillers_without_end(read, statuses):
    """A quarter of a milliard of them, in no bits: they must take no time either."""
    stream = huffman.encode(np.full(1, 3, np.uint8), 4)
    status, message = read(sparse(2**28, 2**28, stream, 1))
    assert statuses[status] == "SymbolCountError"
    assert message == b"layer 'f': gap stream places 0 weights, index stream has 1"
