"""The `.net` reader, on files that these tests write, and on every way to spoil them."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sigdca.models.deep_compression as deep_compression
from sigdca.cli import main
from sigdca.codec import decode_container
from sigdca.errors import FormatError, JobError
from sigdca.models import build, load_weights
from sigdca.models.deep_compression import CONV_BITS, FC_BITS, NetLayer, max_net_bytes, parse_net


class Towers(nn.Module):
    """AlexNet's layers, a hundredth as wide."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 11)
        self.conv2 = nn.Conv2d(6, 10, 5, groups=2)
        self.conv3 = nn.Conv2d(10, 12, 3)
        self.conv4 = nn.Conv2d(12, 12, 3, groups=2)
        self.conv5 = nn.Conv2d(12, 10, 3, groups=2)
        self.fc6 = nn.Linear(90, 41)
        self.fc7 = nn.Linear(41, 41)
        self.fc8 = nn.Linear(41, 10)


def entries_of(codes):
    """(gap, code) of each entry that brings the codes which are not 0, fillers among them."""
    entries = []
    gap = 0
    for code in codes:
        if code == 0 and gap < 15:
            gap += 1
        else:  # a code, or a filler where there is none
            entries.append((gap, int(code)))
            gap = 0
    return entries


def nibbles(values):
    values = [*values, *([0] if len(values) % 2 else [])]
    return bytes(low | high << 4 for low, high in zip(values[::2], values[1::2], strict=True))


def body(codebook, bias, entries):
    """One layer's bytes after the numbers of entries; the codebook's length says the width."""
    codes = [code for _, code in entries]
    values = np.concatenate([codebook, bias]).astype("<f4").tobytes()
    packed = bytes(codes) if len(codebook) == 256 else nibbles(codes)
    return values + packed + nibbles([gap for gap, _ in entries])


def net(*layers):
    """A file of (codebook, bias, entries) layers."""
    counts = [len(entries) for _, _, entries in layers]
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(body(*layer) for layer in layers)


def draw_layer(layer, density, seed):
    """A layer for `net`, and the weight that it stands for; index 0 is zero, as in real files."""
    random = np.random.default_rng(seed)
    codebook = random.standard_normal(1 << layer.bits).astype(np.float32)
    codebook[0] = 0
    codes = random.integers(1, len(codebook), layer.num_weights)
    codes[random.random(layer.num_weights) >= density] = 0
    bias = random.standard_normal(layer.shape[0]).astype(np.float32)
    return (codebook, bias, entries_of(codes)), codebook[codes].reshape(layer.shape)


def layers_of(model):
    """As a reader of the format must see them: all conv layers have 8 bits, fc layers 4."""
    return [
        NetLayer(name, 8 if isinstance(layer, nn.Conv2d) else 4, tuple(layer.weight.shape))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


def write_net(path, model, density):
    """Writes a file for the model; gives the state_dict that it must read."""
    state, drawn = {}, []
    for seed, layer in enumerate(layers_of(model)):
        content, weight = draw_layer(layer, density, seed)
        drawn.append(content)
        state |= {f"{layer.name}.weight": weight, f"{layer.name}.bias": content[1]}
    path.write_bytes(net(*drawn))
    return state


def assert_same_bits(got, expected):
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("make", "density"),
    [
        (Towers, 0.3),
        (Towers, 0.02),  # many fillers
        (Towers, 1.0),
        (Towers, 0.0),  # fillers alone
        (lambda: build("lenet-300-100"), 0.08),
        (lambda: build("squeezenet-1.0"), 0.33),
    ],
)
def test_fills_the_model_bit_for_bit(make, density, tmp_path):
    model = make()
    expected = write_net(tmp_path / "a.net", model, density)
    load_weights(model, tmp_path / "a.net")
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert_same_bits(tensor.numpy(), expected[name])


CODEBOOK = np.arange(16, dtype=np.float32)
BIAS = np.array([-1, 1], np.float32)
FC = NetLayer("ip1", FC_BITS, (2, 20))


def one(*entries, codebook=CODEBOOK, layer=FC):
    """The weight, flat, that these entries make of one layer."""
    (found,) = parse_net(net((codebook, BIAS, entries)), [layer], "x")
    assert_same_bits(found.bias, BIAS)
    assert found.weight.shape == layer.shape
    return found.weight.ravel()


def at(values, size=40):
    weight = np.zeros(size, np.float32)
    for position, value in values.items():
        weight[position] = value
    return weight


def test_bytes_of_a_small_file():
    codebook = struct.pack("<16f", *range(16))
    content = b"\3\0\0\0" + codebook + struct.pack("<2f", -1, 1) + b"\x75\x09" + b"\x20\x0f"
    (found,) = parse_net(content, [FC], "x")
    assert_same_bits(found.weight, at({0: 5, 3: 7, 19: 9}).reshape(2, 20))


def test_fillers():
    assert_same_bits(one((15, 0), (0, 3)), at({16: 3}))
    assert_same_bits(one((15, 0), (15, 0), (7, 3)), at({39: 3}))
    assert_same_bits(one((15, 4)), at({15: 4}))  # the largest gap is not always a filler
    assert_same_bits(one((2, 0), (0, 3)), at({3: 3}))  # nor has a filler always the largest


def test_no_entries():
    assert_same_bits(one(), at({}))
    assert_same_bits(one(codebook=CODEBOOK + 2), np.full(40, 2, np.float32))


@pytest.mark.parametrize("bits", [FC_BITS, CONV_BITS])
@pytest.mark.parametrize("num_entries", range(1, 8))
def test_odd_and_even_numbers_of_entries(bits, num_entries):
    codes = range(1, num_entries + 1)
    layer = NetLayer("a", bits, (2, 5, 2, 2))
    weight = one(*((1, code) for code in codes), codebook=np.arange(1 << bits), layer=layer)
    assert_same_bits(weight, at({2 * code - 1: code for code in codes}))


def test_half_byte_that_is_left_over_means_nothing():
    content = bytearray(net((CODEBOOK, BIAS, [(0, 5)])))
    assert content[-2:] == b"\x05\x00"
    content[-2:] = b"\xf5\xf0"
    (found,) = parse_net(bytes(content), [FC], "x")
    assert_same_bits(found.weight.ravel(), at({0: 5}))


def test_weights_without_entry_have_index_0_whatever_it_stands_for():
    for value in (-0.0, 7.0):
        codebook = CODEBOOK.copy()
        codebook[0] = value
        expected = np.full(40, value, np.float32)
        expected[5] = 1
        assert_same_bits(one((2, 0), (2, 1), codebook=codebook), expected)


@pytest.mark.parametrize("chunk", [2, 4, 64])
def test_chunks_join(monkeypatch, chunk):
    monkeypatch.setattr(deep_compression, "_CHUNK", chunk)
    for bits in (FC_BITS, CONV_BITS):
        layer = NetLayer("a", bits, (3, 101))
        content, expected = draw_layer(layer, 0.4, seed=bits)
        (found,) = parse_net(net(content), [layer], "x")
        assert_same_bits(found.weight, expected)


SMALL = [NetLayer("conv1", CONV_BITS, (2, 1, 3, 3)), NetLayer("ip1", FC_BITS, (2, 20))]


def small_net(conv=((0, 1), (3, 200), (4, 9)), fc=((15, 0), (3, 7), (0, 8)), **changes):
    conv_book, fc_book = np.arange(256.0), np.arange(16.0)
    conv_bias, fc_bias = BIAS.copy(), BIAS.copy()
    if "conv_book" in changes:
        conv_book[changes["conv_book"]] = np.nan
    if "fc_book" in changes:
        fc_book[changes["fc_book"]] = -np.inf
    if "fc_bias" in changes:
        fc_bias[changes["fc_bias"]] = np.nan
    return net((conv_book, conv_bias, conv), (fc_book, fc_bias, fc))


LENGTH = 8 + 4 * (256 + 2) + 3 + 2 + 4 * (16 + 2) + 2 + 2
DAMAGED = "x: damaged, or another network's: "
HOSTILE = {
    "empty": (b"", "x: 0 bytes; the numbers of entries of 2 layers alone are 8"),
    "half a header": (bytes(7), "x: 7 bytes; the numbers of entries of 2 layers alone are 8"),
    "header alone": (
        small_net()[:8],
        f"{DAMAGED}8 bytes, must be {LENGTH} by its numbers of entries and the model's layers",
    ),
    "cut by one": (small_net()[:-1], f"{DAMAGED}{LENGTH - 1} bytes, must be {LENGTH} by its"),
    "one more": (small_net() + b"\0", f"{DAMAGED}{LENGTH + 1} bytes, must be {LENGTH} by its"),
    "more entries than weights": (
        small_net(conv=[(0, 1)] * 19),
        f"{DAMAGED}layer 'conv1' has 19 entries for the model's 18 weights",
    ),
    "entries without end": (
        b"\1\0\0\0\xff\xff\xff\xff" + small_net()[8:],
        f"{DAMAGED}layer 'ip1' has 4294967295 entries for the model's 40 weights",
    ),
    "beyond the last weight": (
        small_net(conv=[(15, 1), (1, 2), (0, 3)]),
        "x: layer 'conv1': entry 2 is of weight 18, the model has 18",
    ),
    "a filler beyond the last weight": (
        small_net(fc=[(15, 0), (15, 0), (15, 0), (15, 0)]),
        "x: layer 'ip1': entry 2 is of weight 47, the model has 40",
    ),
    "NaN in a codebook": (
        small_net(conv_book=200),
        "x: layer 'conv1': its codebook has values that are not finite",
    ),
    "NaN that no entry takes": (
        small_net(conv_book=100),
        "x: layer 'conv1': its codebook has values that are not finite",
    ),
    "infinity in a codebook": (
        small_net(fc_book=0),
        "x: layer 'ip1': its codebook has values that are not finite",
    ),
    "NaN in a bias": (
        small_net(fc_bias=1),
        "x: layer 'ip1': its bias has values that are not finite",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case):
    content, message = HOSTILE[case]
    with pytest.raises(FormatError) as raised:
        parse_net(content, SMALL, "x")
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_the_file_that_the_hostile_ones_are_made_from():
    conv, fc = parse_net(small_net(), SMALL, "x")
    assert len(small_net()) == LENGTH
    assert_same_bits(conv.weight, at({0: 1, 4: 200, 9: 9}, 18).reshape(2, 1, 3, 3))
    assert_same_bits(fc.weight, at({19: 7, 20: 8}).reshape(2, 20))


def test_every_cut_is_found():
    content = small_net()
    for end in range(len(content)):
        with pytest.raises(FormatError, match=r"^x: "):
            parse_net(content[:end], SMALL, "x")


def test_longest_file():
    full = small_net(conv=[(0, 1)] * 18, fc=[(0, 1)] * 40)
    assert max_net_bytes(SMALL) == len(full)
    assert all((found.weight == 1).all() for found in parse_net(full, SMALL, "x"))


@st.composite
def networks(draw):
    """Layers with what their file says of each: a codebook, a bias and codes, many of them 0."""
    network = []
    for index in range(draw(st.integers(1, 4))):
        bits = draw(st.sampled_from([FC_BITS, CONV_BITS]))
        shape = tuple(draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)))
        layer = NetLayer(f"layer{index}", bits, shape)
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        values = random.integers(0, 2**32, (1 << bits) + shape[0], dtype=np.uint32)
        values[(values & 0x7F800000) == 0x7F800000] ^= 0x40000000  # anything that is finite
        codebook, bias = np.split(values.view(np.float32), [1 << bits])
        codes = random.integers(0, 1 << bits, layer.num_weights)
        codes[random.random(layer.num_weights) < draw(st.sampled_from([0, 0.5, 0.97]))] = 0
        network.append((layer, codebook, bias, codes))
    return network


@given(networks())
@settings(max_examples=200, deadline=None)
def test_any_network_comes_back_bit_for_bit(network):
    layers = [layer for layer, *_ in network]
    content = net(*((book, bias, entries_of(codes)) for _, book, bias, codes in network))
    assert len(content) <= max_net_bytes(layers)
    for found, (layer, codebook, bias, codes) in zip(
        parse_net(content, layers, "x"), network, strict=True
    ):
        assert_same_bits(found.weight, codebook[codes].reshape(layer.shape))
        assert_same_bits(found.bias, bias)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_gives_finite_weights_or_a_format_error(data):
    content = bytearray(small_net())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_net(bytes(content), SMALL, "x")
    except FormatError:
        return
    assert [part.weight.shape for part in found] == [layer.shape for layer in SMALL]
    assert all(np.isfinite(part.weight).all() for part in found)


def refused(model, path, error=FormatError):
    """The message, after a check that the model is as it was."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(error) as raised:
        load_weights(model, path)
    state = model.state_dict()
    assert all(torch.equal(before[name], state[name]) for name in before)
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_file_of_another_network(tmp_path):
    path = tmp_path / "a.net"
    write_net(path, Towers(), 0.3)
    assert refused(build("lenet-300-100"), path).startswith(f"{path}: damaged, or another ")


def test_file_that_is_longer_than_the_model_allows_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "a.net"
    model = Towers()
    limit = max_net_bytes(layers_of(model))
    with path.open("wb") as file:
        file.truncate(1 << 40)
    text = f"{path}: larger than a file of the model's weights may be ({limit} bytes)"
    assert refused(model, path) == text


def test_file_takes_as_much_memory_as_it_is_large(tmp_path, monkeypatch):
    path = tmp_path / "a.net"
    write_net(path, Towers(), 0.3)
    monkeypatch.setattr("sigdca.models.weights.max_net_bytes", lambda _: 2**62)
    load_weights(Towers(), path)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm2d(2), "layer 'last' is BatchNorm2d; a .net can fill conv and fc layers"),
        (nn.Linear(2, 2, bias=False), "layer 'last' has no bias; a .net has one for every layer"),
    ],
)
def test_model_that_no_such_file_can_fill(layer, message, tmp_path):
    path = tmp_path / "a.net"
    write_net(path, Towers(), 0.3)
    model = Towers()
    model.last = layer
    assert refused(model, path, JobError).startswith(f"model: {message}")


def test_encode_takes_it(tmp_path, capsys):
    path, output = tmp_path / "a.net", tmp_path / "a.dca"
    expected = write_net(path, build("lenet-5"), 0.1)
    arguments = ["encode", str(path), "--model", "lenet-5", "-o", str(output), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    layers = {layer["name"]: layer for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert list(layers) == ["conv1", "conv2", "ip1", "ip2"]
    assert layers["ip1"]["num_centroids"] <= 16
    tensors = decode_container(output.read_bytes()).tensors
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert_same_bits(tensors[name], value)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sigdca: {path}: damaged, or another network's: ")
    assert said.count("\n") == 1
