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


if __name__ == "__main__":
    build_v1.write(FOLDER, cases(), "arithmetic")
