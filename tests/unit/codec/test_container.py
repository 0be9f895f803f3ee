import tracemalloc

import numpy as np
import pytest

from sigdca.codec import (
    ContainerReader,
    Graph,
    Op,
    decode_container,
    encode_container,
    expected_tensors,
    inspect_container,
    read_container,
)
from sigdca.codec.errors import (
    CoderError,
    FileLengthError,
    LimitError,
    MetadataError,
    SectionChecksumError,
    TensorError,
)
from sigdca.codec.graph_bytes import put_graph
from sigdca.codec.layout import Kind, Part, put_file
from sigdca.errors import FormatError, StorageError

METADATA = {"model": "lenet", "b": 'ä\n"', "a": ""}


def graph(inputs=20, outputs=30):
    ops = (
        Op("flatten", "", (0,)),
        Op("fc", "ip1", (1,), {"out_features": outputs, "bias": 1}),
        Op("relu", "", (2,)),
        Op("fc", "ip2", (3,), {"out_features": 4, "bias": 1}),
    )
    return Graph((1, 1, inputs), 1 / 256, ops)


def tensors():
    """One of each form: sparse, raw, shared with a zero, and of a single value."""
    rng = np.random.default_rng(0)
    drawn = {
        "ip1.weight": np.where(rng.random((30, 20)) < 0.1, rng.choice([1.5, -2, 3], (30, 20)), 0),
        "ip1.bias": rng.normal(size=30),
        "ip2.weight": rng.choice([0, 1, 2.5], (4, 30), p=[0.1, 0.5, 0.4]),
        "ip2.bias": np.full(4, 7),
    }
    return {name: value.astype(np.float32) for name, value in drawn.items()}


@pytest.fixture
def data():
    return encode_container(graph(), tensors(), metadata=METADATA)


def same(container):
    expected = tensors()
    return set(container.tensors) == set(expected) and all(
        container.tensors[name].dtype == np.float32
        and container.tensors[name].shape == value.shape
        and container.tensors[name].tobytes() == value.tobytes()
        for name, value in expected.items()
    )


def test_round_trip(data):
    container = decode_container(data)
    assert container.graph == graph()
    assert container.metadata == METADATA
    assert list(container.tensors) == list(expected_tensors(graph()))
    assert same(container)


@pytest.mark.parametrize(
    "wrap", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)]
)
def test_takes_any_buffer(data, wrap):
    assert same(decode_container(wrap(data)))


def test_decoded_weights_are_the_callers_own(data):
    for tensor in decode_container(data).tensors.values():
        tensor += 1  # not a view of the file
    assert same(decode_container(data))


def test_equal_arguments_give_equal_bytes(data):
    backwards = dict(reversed(tensors().items()))
    strided = {name: np.asfortranarray(value) for name, value in backwards.items()}
    again = encode_container(graph(), strided, metadata=dict(reversed(METADATA.items())))
    assert again == data


def test_does_not_change_its_arguments():
    given = tensors()
    given["ip1.bias"][0] = -0.0
    encode_container(graph(), given)
    assert np.signbit(given["ip1.bias"][0])


def test_no_metadata_no_section():
    data = encode_container(graph(), tensors())
    assert decode_container(data).metadata == {}
    assert Kind.METADATA not in {section.kind for section in inspect_container(data).sections}


def test_encoding_what_was_decoded_gives_the_same_bytes(data):
    container = decode_container(data)
    again = encode_container(container.graph, container.tensors, metadata=container.metadata)
    assert again == data


@pytest.mark.parametrize("read", [decode_container, inspect_container])
def test_truncated_anywhere(data, read):
    for length in range(len(data)):
        with pytest.raises(FormatError) as caught:
            read(data[:length])
        assert "\n" not in str(caught.value)
        assert length < 8 or type(caught.value) is FileLengthError


def test_a_bit_flipped_anywhere(data):
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises(FormatError):
                decode_container(broken)


def test_a_bit_flipped_in_every_section(data):
    sections = inspect_container(data).sections
    assert {section.kind for section in sections} == set(Kind) - {Kind.LAYER}
    for section in sections:
        broken = bytearray(data)
        broken[section.offset + section.length // 2] ^= 16
        for read in (decode_container, inspect_container):
            with pytest.raises(SectionChecksumError, match=section.kind.name.lower()):
                read(broken)


def test_a_tensor_is_read_alone(data):
    """Damage elsewhere does not keep a tensor from being read."""
    sections = ContainerReader(data).sections_of("ip2.weight")
    broken = bytearray(data)
    broken[sections[Kind.INDICES].offset] ^= 1
    reader = ContainerReader(broken)
    assert reader.tensor("ip1.weight").tobytes() == tensors()["ip1.weight"].tobytes()
    with pytest.raises(SectionChecksumError, match="layer 'ip2': indices section's checksum"):
        reader.tensor("ip2.weight")


def test_says_which_part_of_a_layer(data):
    broken = bytearray(data)
    broken[ContainerReader(data).sections_of("ip1.bias")[Kind.DENSE].offset] ^= 1
    with pytest.raises(
        SectionChecksumError, match=r"^layer 'ip1': bias: dense section's checksum"
    ):
        decode_container(broken)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ip1.bias", None, "layer 'ip1': bias: tensor 'ip1.bias' is missing"),
        (
            "ip1.bias",
            np.zeros(30),
            r"layer 'ip1': bias: must be float32 \[30\], got float64 \[30\]",
        ),
        ("ip1.bias", [0.0] * 30, r"must be float32 \[30\], got <class 'list'> \[30\]"),
        (
            "ip1.weight",
            np.zeros((20, 30), np.float32),
            r"layer 'ip1': must be float32 \[30, 20\], got float32 \[20, 30\]",
        ),
        (
            "ip3.bias",
            np.zeros(1, np.float32),
            "tensor 'ip3.bias' belongs to no layer of the graph",
        ),
    ],
)
def test_refuses_tensors(name, value, message):
    given = tensors() | {name: value}
    if value is None:
        del given[name]
    with pytest.raises(TensorError, match=message):
        encode_container(graph(), given)


def test_refuses_a_coder():
    with pytest.raises(CoderError, match="coder 'zip' is unknown, must be one of huffman"):
        encode_container(graph(), tensors(), coder="zip")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": 1}, "must be text to text, got str to int at 'a'"),
        ({1: "a"}, "must be text to text, got int to str at '1'"),
        ({"a": "\ud800"}, "not Unicode text at character 6"),
        ({"a": "b" * 65536}, "has 65544 bytes, limit 65536"),
    ],
)
def test_refuses_metadata(metadata, message):
    with pytest.raises(MetadataError, match=f"^metadata: {message}"):
        encode_container(graph(), tensors(), metadata=metadata)


def test_refuses_to_read_large_metadata():
    text = b'{"a":"' + b"b" * 65529 + b'"}'
    with pytest.raises(MetadataError, match="has 65537 bytes, limit 65536"):
        decode_container(
            put_file(
                [
                    Part(Kind.GRAPH, None, put_graph(graph())),
                    Part(Kind.METADATA, None, text),
                ]
            )
        )


def test_callers_limit_on_weights(data):
    num_weights = sum(tensor.size for tensor in tensors().values())
    assert same(decode_container(data, max_weights=num_weights))
    assert inspect_container(data, max_weights=num_weights).dense_bytes == 4 * num_weights
    message = f"graph: declares {num_weights} weights, limit {num_weights - 1}"
    for read in (decode_container, inspect_container):
        with pytest.raises(LimitError, match=message):
            read(data, max_weights=num_weights - 1)


def test_a_small_file_cannot_ask_for_more_than_its_graph():
    """A stream without bits may hold any number of symbols; the tensor's size bounds it."""
    codebook, stream = np.float32([1]).tobytes(), bytes([0xF0])
    big = Graph(
        (1, 1, 10),
        1.0,
        (Op("flatten", "", (0,)), Op("fc", "f", (1,), {"out_features": 10, "bias": 0})),
    )
    data = put_file(
        [
            Part(Kind.GRAPH, None, put_graph(big)),
            Part(Kind.CODEBOOK, 0, codebook),
            Part(Kind.INDICES, 0, b"\xff\xff\xff\xff\x0f" + stream),
        ]
    )
    tracemalloc.start()
    with pytest.raises(FormatError, match="promises 4294967295 symbols, the tensor has 100"):
        decode_container(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_reads_a_file(tmp_path, data):
    path = tmp_path / "model.dca"
    path.write_bytes(data)
    assert same(read_container(path))
    path.write_bytes(data[:-1])
    with pytest.raises(FileLengthError) as caught:
        read_container(path)
    assert str(caught.value) == (
        f"{path}: container: has {len(data) - 1} bytes, its header promises {len(data)}"
    )


def test_names_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match=r"no\.dca: cannot be read: No such file or directory"):
        read_container(tmp_path / "no.dca")


def test_a_graph_that_is_too_long_for_version_2():
    """4,096 layers with names of 30 letters."""
    ops = [Op("batch_norm", f"{number:030}", (number,), {"eps": 1e-5}) for number in range(4096)]
    long = Graph((1, 1, 1), 1.0, tuple(ops))
    values = {name: np.ones(1, np.float32) for name in expected_tensors(long)}
    with pytest.raises(LimitError, match=r"^graph: has \d+ bytes, limit 65536; coder huffman has"):
        encode_container(long, values, coder="arithmetic")
    assert decode_container(encode_container(long, values)).graph == long
