"""Containers: round trips, a second reader written from SPEC.md alone, and damage."""

import struct
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.codec import (
    ContainerReader,
    Graph,
    Op,
    decode_container,
    encode_container,
    inspect_container,
    layers,
    layout_v2,
    values,
)
from sigdca.codec.container import CODERS
from sigdca.codec.layout import Part, put_file
from sigdca.errors import EngineError, FormatError

MAX_WEIGHTS = 1_000_000  # what a forged graph may make us allocate here
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)


@st.composite
def networks(draw):
    """One fully connected layer, its weights sparse, shared, both or neither."""
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 60))
    bias = draw(st.integers(0, 1))
    fc = Op("fc", "f", (1,), {"out_features": rows, "bias": bias})
    graph = Graph((1, 1, columns), 1.0, (Op("flatten", "", (0,)), fc))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = np.array(draw(st.lists(FLOATS, min_size=1, max_size=40)), np.float32)
    kept = rng.random((rows, columns)) < draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.0]))
    weights = np.where(kept, rng.choice(values, (rows, columns)), np.float32(0))
    tensors = {"f.weight": weights}
    if bias:
        tensors["f.bias"] = rng.choice(values, rows)
    metadata = draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
    return graph, tensors, metadata


EVERY_CODER = st.sampled_from(CODERS)


@pytest.fixture(autouse=True, scope="module")
def rans_for_all():
    """A layer is never too small for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "MIN_RANS_WEIGHTS", 1)
        yield


@contextmanager
def python_alone(chunk_weights=1 << 22):
    """Streams are coded as where libsigdca-codec is not built, and chunks are of that size."""

    def codec_library():
        raise EngineError("native: libsigdca-codec.so is not there")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sigdca.native.library.codec_library", codec_library)
        patch.setattr(values, "CHUNK_WEIGHTS", chunk_weights)
        yield


def encode(network, coder="huffman"):
    graph, tensors, metadata = network
    return encode_container(graph, tensors, coder=coder, metadata=metadata)


@given(networks(), EVERY_CODER)
def test_round_trip(network, coder):
    graph, tensors, metadata = network
    data = encode(network, coder)
    container = decode_container(data)
    assert (container.graph, container.metadata) == (graph, metadata)
    assert list(container.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert container.tensors[name].shape == tensor.shape
        assert container.tensors[name].tobytes() == tensor.tobytes()
    layer = inspect_container(data).layers[0]
    assert layer.num_nonzero == np.count_nonzero(tensors["f.weight"])
    if layer.bits < 32:
        distinct = np.unique(tensors["f.weight"])
        assert layer.num_centroids == np.count_nonzero(distinct)


@given(networks(), EVERY_CODER, st.integers(1, 200))
def test_python_and_the_library_agree_on_any_chunks(network, coder, chunk_weights):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "CHUNK_WEIGHTS", chunk_weights)
        data = encode(network, coder)
        fast = decode_container(data, threads=2)
    with python_alone(chunk_weights):
        assert encode(network, coder) == data
        slow = decode_container(data)
    for name, tensor in network[1].items():
        assert fast.tensors[name].tobytes() == tensor.tobytes()
        assert slow.tensors[name].tobytes() == tensor.tobytes()


@given(networks())
def test_a_second_reader_agrees(network):
    _, tensors, _ = network
    data = encode(network)
    for number, tensor in enumerate(tensors.values()):
        assert read_by_the_spec(data, number, tensor.size) == tensor.ravel().tolist()


def read_by_the_spec(data, number, size):
    """Bit by bit, as SPEC.md says it; the graph is skipped."""
    num_sections, total, table_bytes = struct.unpack_from("<HII", data, 10)
    assert total == len(data)
    at, offset, payloads = 20, 24 + table_bytes, {}
    for _ in range(num_sections):
        kind, tensor, at = data[at] & 15, None, at + 1
        if kind > 1:
            tensor, at = read_varint(data, at)
        length, at = read_varint(data, at)
        payload = data[offset : offset + length]
        assert struct.unpack_from("<I", data, at) == (zlib.crc32(payload),)
        at, offset = at + 4, offset + length
        if tensor == number:
            payloads[kind] = payload
    if 5 in payloads:
        return list(struct.unpack(f"<{size}f", payloads[5]))
    codebook = struct.unpack(f"<{len(payloads[2]) // 4}f", payloads[2])
    count, at = read_varint(payloads[3], 0)
    values = [codebook[i] for i in read_stream(payloads[3][at:], count, len(codebook))]
    if 4 not in payloads:
        return values
    count, at = read_varint(payloads[4], 0)
    filler = 2 ** payloads[4][at] - 1
    weights, cursor = [0.0] * size, 0
    for symbol in read_stream(payloads[4][at + 1 :], count, filler + 1):
        cursor += symbol
        if symbol != filler:
            weights[cursor] = values.pop(0)
            cursor += 1
    assert not values
    return weights


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def read_stream(data, count, alphabet):
    bits = iter("".join(f"{byte:08b}" for byte in data))
    lengths, previous = {}, 4
    for symbol in range(alphabet):
        prefix = next(bits)
        while prefix not in ("0", "10", "110", "1110", "1111"):
            prefix += next(bits)
        if prefix == "1110":
            continue
        if prefix == "1111":
            previous = 1 + int("".join(next(bits) for _ in range(4)), 2)
        else:
            previous += {"0": 0, "10": 1, "110": -1}[prefix]
        lengths[symbol] = previous
    if len(lengths) == 1:
        symbols = list(lengths) * count
    else:
        codes, code, last = {}, -1, 0
        for symbol, length in sorted(lengths.items(), key=lambda item: (item[1], item[0])):
            code = (code + 1) << (length - last)
            codes[f"{code:0{length}b}"], last = symbol, length
        symbols = []
        for _ in range(count):
            word = next(bits)
            while word not in codes:
                word += next(bits)
            symbols.append(codes[word])
    left = list(bits)
    assert len(left) < 8
    assert "1" not in left
    return symbols


def decoded(data):
    try:
        return decode_container(data, max_weights=MAX_WEIGHTS), None
    except FormatError as error:
        return None, f"{type(error).__name__}: {error}"


def check(data):
    """A FormatError of one line, or a container that is whole; the same by Python alone."""
    container, refusal = decoded(data)
    with python_alone():
        slow, slow_refusal = decoded(data)
    assert slow_refusal == refusal
    if refusal is not None:
        assert "\n" not in refusal
        return None
    for name, tensor in slow.tensors.items():
        assert container.tensors[name].tobytes() == tensor.tobytes()
    for tensor in container.tensors.values():
        assert np.isfinite(tensor).all()
    inspect_container(data, max_weights=MAX_WEIGHTS)
    return container


@given(networks(), EVERY_CODER, st.data())
def test_any_mutation_is_refused(network, coder, data):
    """Every byte is under a checksum, so nothing but the original is ever decoded."""
    good = encode(network, coder)
    mutated = bytearray(good)
    place = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(place, min(place + 4, len(good))))
    mutated[place:end] = data.draw(st.binary(max_size=4))
    container = check(bytes(mutated))
    assert (container is not None) == (mutated == good)


@settings(max_examples=300)
@given(networks(), EVERY_CODER, st.data())
def test_mutation_under_right_checksums(network, coder, data):
    """A forger repairs the checksums: still a FormatError, or a container that is whole."""
    good = encode(network, coder)
    reader = ContainerReader(good)
    payloads = [bytearray(good[s.offset : s.offset + s.length]) for s in reader.sections]
    for _ in range(data.draw(st.integers(1, 3))):
        payload = data.draw(st.sampled_from(payloads))
        place = data.draw(st.integers(0, len(payload)))
        end = data.draw(st.integers(place, min(place + 2, len(payload))))
        payload[place:end] = data.draw(st.binary(max_size=3))
    parts = [
        Part(section.kind, section.tensor, bytes(payload), section.coder)
        for section, payload in zip(reader.sections, payloads, strict=True)
    ]
    put = put_file if coder == "huffman" else layout_v2.put_file
    container = check(put(parts))
    if container is not None:
        again = encode((container.graph, container.tensors, container.metadata), coder)
        second = decode_container(again)
        for name, tensor in container.tensors.items():
            assert second.tensors[name].tobytes() == tensor.tobytes()


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes(data, with_magic):
    for version in (b"\1\0", b"\2\0"):
        check(b"\x89DCA\r\n\x1a\n" + version + data if with_magic else data)
