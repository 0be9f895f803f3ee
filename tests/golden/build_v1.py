"""How the files in v1/ were made: `python tests/golden/build_v1.py`.

It adds files, and never overwrites one: every later reader must read what is there.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sigdca.codec import Graph, Op, encode_container, expected_tensors

FOLDER = Path(__file__).parent / "v1"
WINDOW = {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 0), "ceil": 1}


def conv(name, source, channels, **attrs):
    defaults = {
        "out_channels": channels,
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "bias": 1,
    }
    return Op("conv", name, (source,), defaults | attrs)


def fc_graph(inputs, outputs, bias=0):
    fc = Op("fc", "ip1", (1,), {"out_features": outputs, "bias": bias})
    return Graph((1, 1, inputs), 1 / 256, (Op("flatten", "", (0,)), fc))


def all_operators():
    ops = (
        conv("features.0", 0, 4, kernel=(3, 2), dilation=(1, 2), bias=0),
        Op("batch_norm", "features.1", (1,), {"eps": 1e-5}),
        Op("relu", "", (2,)),
        Op("max_pool", "", (3,), WINDOW),
        conv("branch", 4, 4, groups=2, stride=(1, 1)),
        Op("relu6", "", (5,)),
        Op("add", "", (4, 6)),
        Op("lrn", "", (7,), {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}),
        Op("concat", "", (7, 8, 4)),
        Op("avg_pool", "", (9,), WINDOW | {"include_pad": 0}),
        Op("global_avg_pool", "", (10,)),
        Op("flatten", "", (11,)),
        Op("fc", "größe", (12,), {"out_features": 3, "bias": 1}),
        Op("softmax", "", (13,)),
    )
    return Graph((3, 9, 8), 1 / 255, ops)


def sparse(rng, size, density, centroids):
    """Random places and values; every centroid is there."""
    values = rng.normal(size=centroids).astype(np.float32)
    flat = np.zeros(size, np.float32)
    places = rng.choice(size, round(size * density), replace=False)
    flat[places] = values[np.arange(len(places)) % centroids]
    return flat


def cases():
    rng = np.random.default_rng(1)
    graph = all_operators()
    shapes = expected_tensors(graph)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    yield "raw-all-operators", graph, tensors, {"name": "größe", "quote": '"\\\n'}

    yield "no-tensors", Graph((1, 2, 2), 0.5, (Op("relu", "", (0,)),)), {}, {}

    def fc(flat, inputs, **metadata):
        return fc_graph(inputs, len(flat) // inputs), {"ip1.weight": flat.reshape(-1, inputs)}, {}

    yield "sparse-narrow-gaps", *fc(sparse(rng, 2000, 0.3, 5), 100)
    yield "sparse-fillers", *fc(sparse(rng, 40000, 0.003, 7), 400)
    yield "sparse-one-centroid", *fc(sparse(rng, 3000, 0.1, 1), 100)
    yield "one-weight-at-the-end", *fc(np.eye(1, 1000, 999, np.float32)[0], 100)
    yield "every-weight-shared", *fc(rng.choice(np.float32([-1, 0.5, 2, 3]), 1000), 50)
    yield "shared-with-a-few-zeros", *fc(sparse(rng, 1000, 0.9, 16), 50)
    yield "all-zero", *fc(np.zeros(600, np.float32), 20)
    yield "all-equal", *fc(np.full(600, 0.25, np.float32), 20)
    yield "centroids-300", *fc(sparse(rng, 20000, 0.2, 300), 200)
    # Fibonacci counts: the longest codes there are, cut at 16 bits.
    counts = [1, 1]
    while len(counts) < 18:
        counts.append(counts[-1] + counts[-2])
    flat = np.repeat(np.arange(1, 19, dtype=np.float32), counts)
    yield "codes-of-16-bits", *fc(rng.permutation(flat), len(flat))
    subnormal = np.float32([1e-45, -1e-45, 3.4e38, -3.4e38, 1.17549435e-38, 0])
    yield "extreme-values", *fc(np.tile(subnormal, 10), 6)
    # As the first, but what it computes is finite: variances are none below 0.
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    variance = "features.1.running_var"
    tensors[variance] = np.abs(tensors[variance]) + np.float32(0.5)
    yield "all-operators-finite", graph, tensors, {}


def write(folder, cases, coder):
    """Adds the cases that are not there: container, tensors, and what else it says."""
    folder.mkdir(exist_ok=True)
    for name, graph, tensors, metadata in cases:
        path = folder / f"{name}.dca"
        if path.exists():
            continue
        path.write_bytes(encode_container(graph, tensors, coder=coder, metadata=metadata))
        np.savez_compressed(path.with_suffix(".npz"), **tensors)
        expected = {"metadata": metadata, "graph": asdict(graph)}
        path.with_suffix(".json").write_text(json.dumps(expected, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    write(FOLDER, cases(), "huffman")
