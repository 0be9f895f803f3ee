"""How the files in v2/ were made: `python tests/golden/build_v2.py`.

It adds files, and never overwrites one: every later reader must read what is there.
"""

from pathlib import Path

import build_v1
import numpy as np

from sigdca.codec import Graph, Op, expected_tensors

FOLDER = Path(__file__).parent / "v2"


def image_graph():
    """Weights that look at images: their lines are context."""
    ops = (
        build_v1.conv("conv1", 0, 6, kernel=(5, 5)),
        Op("relu", "", (1,)),
        Op("flatten", "", (2,)),
        Op("fc", "ip1", (3,), {"out_features": 20, "bias": 1}),
    )
    return Graph((1, 12, 10), 1 / 256, ops)


def levels(rng, shape, scale):
    """Whole numbers, most of them 0, and more of them in some columns."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    likely = 0.3 * rng.random(columns) ** 4 * (rng.random((rows, 1)) < 0.8)
    flat = np.where(rng.random((rows, columns)) < likely, rng.normal(0, scale, (rows, columns)), 0)
    return (np.rint(flat) + 0.0).astype(np.float32).reshape(shape)


def cases():
    for name, graph, tensors, metadata in build_v1.cases():
        yield name, graph, tensors, metadata
    rng = np.random.default_rng(2)
    graph = image_graph()
    shapes = expected_tensors(graph)
    grid = {name: levels(rng, shape, 2) * np.float32(0.125) for name, shape in shapes.items()}
    yield "grid-images", graph, grid, {"data": "mnist", "model": "lenet-5"}
    wide = {name: levels(rng, shape, 900) * np.float32(2**-20) for name, shape in shapes.items()}
    yield "grid-wide", graph, wide, {}
    book = {
        name: np.sin(levels(rng, shape, 3)).astype(np.float32) for name, shape in shapes.items()
    }
    yield "codebook-images", graph, book, {}
    mixed = dict(grid)
    mixed["conv1.bias"] = rng.normal(size=6).astype(np.float32)
    mixed["ip1.weight"] = rng.normal(size=shapes["ip1.weight"]).astype(np.float32)
    yield "raw-beside-grid", graph, mixed, {}
    one_sign = {name: np.abs(value) for name, value in grid.items()}
    yield "one-sign", graph, one_sign, {}

    # What is smaller by the zeros between weights: since there is a coder for that.
    yield "places-codebook", *fc(rng, build_v1.sparse(rng, 8000, 0.2, 7), 100)
    far = build_v1.sparse(rng, 8000, 0.2, 60) * np.float32(2400)
    yield "places-wide-grid", *fc(rng, np.rint(far) + np.float32(0), 100)
    below = np.float32(0) - np.abs(build_v1.sparse(rng, 20000, 0.2, 2))
    yield "places-one-sign", *fc(rng, below, 100)
    yield "places-two-chunks", *fc(rng, two_chunks(rng), 2000)


def fc(rng, flat, inputs):
    """One layer, with a bias."""
    graph = build_v1.fc_graph(inputs, len(flat) // inputs, bias=1)
    bias = rng.normal(size=len(flat) // inputs).round(1).astype(np.float32)
    return graph, {"ip1.weight": flat.reshape(-1, inputs), "ip1.bias": bias + np.float32(0)}, {}


def two_chunks(rng):
    """2,098 rows of 2,000 weights, a row more than 2^22 weights hold; few are not 0."""
    flat = build_v1.sparse(rng, 2098 * 2000, 2e-5, 3)
    last = 2097 * 2000  # of the first chunk
    flat[[0, last - 1, last, -1]] = flat[flat != 0][:4]
    return flat


def rans_cases():
    """Layers that are large enough for it."""
    rng = np.random.default_rng(3)
    size = 128 * 128
    yield "rans-map", *fc(rng, build_v1.sparse(rng, size, 0.3, 5), 128)
    yield "rans-gaps", *fc(rng, build_v1.sparse(rng, size, 0.05, 9), 128)
    yield "rans-gap-fillers", *fc(rng, np.abs(build_v1.sparse(rng, size, 0.002, 4)), 128)
    yield "rans-one-symbol", *fc(rng, np.full(size, 0.25, np.float32), 128)
    whole = rng.normal(0, 30, size).round().clip(-128, 127)
    yield "rans-256-ranks", *fc(rng, (whole + 0.0).astype(np.float32) / 64, 128)
    yield "rans-two-chunks", *fc(rng, two_chunks(rng), 2000)
    ops = (
        build_v1.conv("conv1", 0, 4),  # too small for it
        Op("flatten", "", (1,)),
        Op("fc", "ip1", (2,), {"out_features": 43, "bias": 1}),
        Op("fc", "ip2", (3,), {"out_features": 5, "bias": 0}),
    )
    graph = Graph((1, 12, 8), 1 / 256, ops)
    shapes = expected_tensors(graph)
    tensors = {name: levels(rng, shape, 2) * np.float32(0.125) for name, shape in shapes.items()}
    tensors["ip2.weight"] = rng.normal(size=shapes["ip2.weight"]).astype(np.float32)  # raw
    yield "rans-beside-others", graph, tensors, {"coder": "rans"}


if __name__ == "__main__":
    build_v1.write(FOLDER, cases(), "arithmetic")
    build_v1.write(FOLDER, rans_cases(), "rans")
