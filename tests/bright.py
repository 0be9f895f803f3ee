"""A tiny network and its task: which two rows of an image are bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sigdca.codec import Graph, Op, encode_container, expected_tensors
from sigdca.data import Dataset
from tests.images import write_shards

WINDOW = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
GRAPH = Graph(
    (1, 6, 6),
    1 / 256,
    (
        Op("conv", "c", (0,), {"out_channels": 4, **WINDOW, "groups": 1, "bias": 1}),
        Op("batch_norm", "n", (1,), {"eps": 1e-5}),
        Op("relu", "", (2,)),
        Op("flatten", "", (3,)),
        Op("fc", "f", (4,), {"out_features": 3, "bias": 1}),
        Op("softmax", "", (5,)),
    ),
)


def model(seed: int = 0) -> bytes:
    """Eight values a layer, half of the weights 0."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_tensors(GRAPH).items():
        tensor = rng.standard_normal(shape).astype(np.float32) * np.float32(0.2)
        if name in ("c.weight", "f.weight"):
            tensor = tensor.reshape(-1)[rng.integers(0, 8, shape)]
            tensor[rng.random(shape) < 0.5] = 0
        tensors[name] = np.abs(tensor) + 1 if name in ("n.weight", "n.running_var") else tensor
    return encode_container(GRAPH, tensors)


def samples(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which two rows are bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 120, (count, 1, 6, 6)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 100
    return images, labels


def write_samples(folder: Path, count: int = 200) -> str:
    """The same as a data set; gives its address."""
    images, labels = samples(count)
    write_shards(folder, {"train": [Dataset(images, labels.astype(np.uint8))]}, 3, "bright")
    return str(folder)
