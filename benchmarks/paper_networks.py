"""Networks with the densities and bits of Deep Compression's tables 2 to 5, random weights.

What a layer costs depends on how many weights it has and how they are coded, not on what they say;
where a claim needs a trained network, it takes a trained container.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import Graph, encode_container, read_container
from sigdca.models import build, trace

SHAPES = {
    "lenet-300-100": (1, 28, 28),
    "lenet-5": (1, 28, 28),
    "alexnet": (3, 224, 224),
    "vgg-16": (3, 224, 224),
}
# Percent of the weights kept, layer by layer.
DENSITIES = {
    "lenet-300-100": (8, 9, 26),
    "lenet-5": (66, 12, 8, 19),
    "alexnet": (84, 38, 35, 37, 37, 9, 9, 25),
    "vgg-16": (58, 22, 34, 36, 53, 24, 42, 32, 27, 34, 35, 29, 36, 4, 4, 23),
}
# Bits of a weight's index, for convolutions and for fully connected layers.
BITS = {"lenet-300-100": (8, 6), "lenet-5": (8, 5), "alexnet": (8, 5), "vgg-16": (8, 5)}

Tensors = dict[str, NDArray[np.float32]]


def paper_network(name: str, folder: Path, seed: int = 0) -> tuple[Path, Graph, Tensors]:
    """A network as a container, made once.

    Args:
        name: a key of `SHAPES`.
        folder: where containers are kept.
        seed: of the weights.

    Returns:
        The container's path, its graph and its weights.
    """
    path = folder / f"{name}-{seed}.dca"
    if not path.is_file():
        model = build(name)
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        graph = trace(model, SHAPES[name], 1 / 256)
        tensors = compressed(state, DENSITIES[name], BITS[name], np.random.default_rng(seed))
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_container(graph, tensors))
    container = read_container(path)
    return path, container.graph, container.tensors


def compressed(
    state: Tensors,
    densities: tuple[int, ...],
    bits: tuple[int, int],
    rng: np.random.Generator,
    convs: Sequence[NDArray[np.float32]] = (),
) -> Tensors:
    """Weights, pruned by magnitude to a density and shared among 2^bits centroids.

    Args:
        state: names and shapes.
        densities: percent a layer.
        bits: of convolutions, and of fully connected layers.
        rng: where the weights come from: bell-shaped.
        convs: what the first layers have instead.
    """
    kept, given = iter(densities), iter(convs)
    tensors: Tensors = {}
    for name, value in state.items():
        if name.endswith("bias"):
            tensors[name] = rng.normal(0, 0.05, value.shape).astype(np.float32)
            continue
        density = next(kept) / 100
        fan_in = value[0].size
        weights = next(given, None)
        if weights is None:
            weights = rng.standard_normal(value.shape, np.float32)
        tensors[name] = _shared(weights, density, 2 ** bits[value.ndim == 2])
        # Kept weights are the large ones: scale by what they really add up to.
        tensors[name] *= np.float32(np.sqrt(2 / (fan_in * np.square(tensors[name]).mean())))
    return tensors


def _shared(
    weights: NDArray[np.float32], density: float, num_centroids: int
) -> NDArray[np.float32]:
    """The largest weights, each moved to the nearest of evenly spaced values.

    These reach from the smallest weight to the largest, as Deep Compression's linear centroids do
    before k-means moves them.
    """
    magnitudes = np.abs(weights)
    threshold = np.quantile(magnitudes.reshape(-1)[: 1 << 22], 1 - density)
    low, high = float(weights.min()), float(weights.max())
    step = (high - low) / (num_centroids - 1)
    index = np.rint((weights - np.float32(low)) / np.float32(step))
    centroids = np.linspace(low, high, num_centroids).astype(np.float32)
    return np.where(magnitudes >= threshold, centroids[index.astype(np.int64)], np.float32(0))
