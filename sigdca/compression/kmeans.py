"""Lloyd's k-means on one axis, where sorting makes every step a few binary searches."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Init = Literal["linear", "density", "random"]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MAX_ITERATIONS = 1000  # an end for the slowest cases; layers of LeNet to VGG-16 need 20 to 400


def kmeans_codebook(
    values: Floats, num_centroids: int, init: Init = "linear", seed: int = 0
) -> tuple[Floats, Indices]:
    """Finds centroids such that the squared distance of each value to its nearest is small.

    The three initialisations are Deep Compression's (arXiv 1510.00149, section 3.2). A cluster
    that loses all its values takes over half of the worst other cluster. The result is the same
    on every run.

    Args:
        values: float32 [n], finite; n may be 0.
        num_centroids: at least 1.
        init: `linear` spaces centroids evenly from the smallest to the largest value; `density`
            evenly along the values' distribution function; `random` (Forgy) takes values.
        seed: of the random initialisation.

    Returns:
        The codebook, float32 [k], ascending and distinct, k <= num_centroids, each centroid with
        at least one value; and int64 [n], the index of the nearest centroid of each value. Where
        there are no more distinct values than centroids, these are the codebook.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    if len(distinct) <= num_centroids:
        return distinct, inverse.reshape(-1).astype(np.int64)
    ordered = np.sort(values).astype(np.float64)
    centroids = _initial(ordered, num_centroids, init, seed)
    line = _Line(ordered)
    for _ in range(MAX_ITERATIONS):
        moved = line.improve(centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    codebook = np.unique(centroids.astype(np.float32))
    nearest = _nearest(codebook, values)
    used, indices = np.unique(nearest, return_inverse=True)
    return codebook[used], indices.reshape(-1).astype(np.int64)


def _initial(ordered: Doubles, num_centroids: int, init: Init, seed: int) -> Doubles:
    if init == "linear":
        return np.linspace(ordered[0], ordered[-1], num_centroids)
    if init == "density":
        quantiles = (np.arange(num_centroids) + 0.5) / num_centroids
        return ordered[(quantiles * len(ordered)).astype(np.int64)]
    chosen = np.random.default_rng(seed).choice(len(ordered), num_centroids, replace=False)
    return ordered[np.sort(chosen)]


def _nearest(codebook: Floats, values: Floats) -> Indices:
    centres = codebook.astype(np.float64)
    bounds = (centres[1:] + centres[:-1]) / 2
    return np.asarray(np.searchsorted(bounds, values.astype(np.float64)), dtype=np.int64)


class _Line:
    """Ascending values with their running sums, so that any cluster's mean is two look-ups."""

    def __init__(self, ordered: Doubles) -> None:
        self._ordered = ordered
        self._sums = np.concatenate([[0.0], np.cumsum(ordered)])
        self._squares = np.concatenate([[0.0], np.cumsum(ordered * ordered)])

    def improve(self, centroids: Doubles) -> Doubles:
        """One step: each centroid to its cluster's mean, and no cluster left empty."""
        inner = np.searchsorted(self._ordered, (centroids[1:] + centroids[:-1]) / 2)
        cuts = np.concatenate([[0], inner, [len(self._ordered)]])
        filled = np.flatnonzero(np.diff(cuts))
        starts, ends = cuts[filled], cuts[filled + 1]
        means = self._means(starts, ends)
        num_empty = len(centroids) - len(filled)
        if num_empty == 0:
            return means
        return np.sort(self._split_worst(starts, ends, means, num_empty))

    def _means(self, starts: Indices, ends: Indices) -> Doubles:
        means = (self._sums[ends] - self._sums[starts]) / (ends - starts)
        # Running sums round; a mean never leaves its cluster.
        low, high = self._ordered[starts], self._ordered[ends - 1]
        return np.asarray(np.clip(means, low, high), dtype=np.float64)

    def _split_worst(
        self, starts: Indices, ends: Indices, means: Doubles, num_empty: int
    ) -> Doubles:
        """Replaces the means of the worst clusters by those of their lower and upper parts."""
        mixed = np.flatnonzero(self._ordered[starts] < self._ordered[ends - 1])
        squares = self._squares[ends[mixed]] - self._squares[starts[mixed]]
        errors = squares - (ends - starts)[mixed] * means[mixed] ** 2
        worst = mixed[np.argsort(-errors, kind="stable")[:num_empty]]
        # A mean that rounding put at its cluster's lowest value still splits off that value.
        middles = np.searchsorted(self._ordered, means[worst], side="right")
        middles = np.minimum(
            middles, np.searchsorted(self._ordered, self._ordered[ends[worst] - 1])
        )
        lower = self._means(starts[worst], middles)
        upper = self._means(middles, ends[worst])
        # Clusters of one value each cannot be split: centroids in their place stay idle.
        idle = np.full(num_empty - len(worst), self._ordered[-1])
        return np.concatenate([np.delete(means, worst), lower, upper, idle])
