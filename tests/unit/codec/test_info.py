import json
from dataclasses import asdict

import numpy as np
import pytest

from sigdca.codec import Graph, Op, encode_container, expected_tensors, inspect_container
from sigdca.codec.layout import Kind

GRAPH = Graph(
    (2, 4, 5),
    0.5,
    (
        Op(
            "conv",
            "conv1",
            (0,),
            {
                "out_channels": 6,
                "kernel": (2, 2),
                "stride": (1, 1),
                "padding": (0, 0),
                "dilation": (1, 1),
                "groups": 1,
                "bias": 0,
            },
        ),
        Op("batch_norm", "bn", (1,), {"eps": 1e-5}),
        Op("flatten", "", (2,)),
        Op("fc", "ip1", (3,), {"out_features": 50, "bias": 1}),
    ),
)


@pytest.fixture(scope="module")
def info():
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in expected_tensors(GRAPH).items()
    }
    sparse = np.zeros(50 * 72, np.float32)
    sparse[rng.choice(len(sparse), 360, replace=False)] = np.tile(np.float32([1, 2, 3, 4, 5]), 72)
    tensors["ip1.weight"] = sparse.reshape(50, 72)
    data = encode_container(GRAPH, tensors, metadata={"a": "b"})
    return data, inspect_container(data)


def test_totals(info):
    data, info = info
    assert info.version == 1
    assert info.container_bytes == len(data)
    # Running mean and variance are no parameters.
    assert info.dense_bytes == 4 * (48 + 6 + 6 + 50 * 72 + 50)
    assert info.compression_ratio == info.dense_bytes / len(data)
    assert info.graph == GRAPH
    assert info.metadata == {"a": "b"}
    assert info.sections[-1].offset + info.sections[-1].length == len(data)


def test_sparse_layer(info):
    _, info = info
    layer = info.layers[2]
    kinds = {(section.tensor, section.kind): section.length for section in info.sections}
    parts = {
        "codebook": 20,
        "indices": kinds[5, Kind.INDICES],
        "gaps": kinds[5, Kind.GAPS],
        "bias": 200,
    }
    assert asdict(layer) == {
        "name": "ip1",
        "kind": "fc",
        "shape": (50, 72),
        "num_weights": 3600,
        "num_nonzero": 360,
        "sparsity": 0.9,
        "num_centroids": 5,
        "bits": 3,
        "bytes": sum(parts.values()),
        "dense_bytes": 4 * 3650,
        "parts": parts,
    }


def test_raw_layers(info):
    _, info = info
    conv, norm, _ = info.layers
    assert (conv.num_centroids, conv.bits, conv.sparsity) == (0, 32, 0)
    assert conv.bytes == conv.dense_bytes == 4 * 48
    assert set(conv.parts.values()) == {0}
    assert (norm.name, norm.kind, norm.shape) == ("bn", "batch_norm", (6,))
    assert (norm.bytes, norm.dense_bytes, norm.parts["bias"]) == (96, 48, 24)


def test_layers_and_the_rest_make_the_file(info):
    data, info = info
    own = sum(section.length for section in info.sections if section.tensor is None)
    assert info.sections[0].offset + own + sum(layer.bytes for layer in info.layers) == len(data)


def test_is_plain_data(info):
    json.dumps([asdict(layer) for layer in info[1].layers])


@pytest.mark.parametrize(
    ("values", "num_nonzero", "num_centroids", "bits"),
    [
        ([0], 0, 0, 0),
        ([3], 3600, 1, 0),
        ([0, 3], 1800, 1, 0),
        ([1, 3], 3600, 2, 1),
        ([0, 1, 2, 3, 4, 5], 3000, 5, 3),
        ([1, 2, 3, 4], 3600, 4, 2),
    ],
)
def test_bits_of_a_codebook(values, num_nonzero, num_centroids, bits):
    graph = Graph(
        (1, 1, 60),
        1.0,
        (Op("flatten", "", (0,)), Op("fc", "f", (1,), {"out_features": 60, "bias": 0})),
    )
    weights = np.resize(np.float32(values), (60, 60))
    layer = inspect_container(encode_container(graph, {"f.weight": weights})).layers[0]
    assert (layer.num_nonzero, layer.num_centroids, layer.bits) == (
        num_nonzero,
        num_centroids,
        bits,
    )
    assert layer.sparsity == 1 - num_nonzero / 3600
