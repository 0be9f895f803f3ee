import itertools
import time

import numpy as np
import pytest

from sigdca.compression import kmeans_codebook

INITS = ["linear", "density", "random"]


def squared_error(values, codebook, indices):
    return float(((values.astype(np.float64) - codebook[indices]) ** 2).sum())


def lloyd(values, centroids):
    """The textbook's algorithm."""
    for _ in range(1000):
        nearest = np.abs(values[:, None] - centroids[None, :]).argmin(axis=1)
        moved = np.array([values[nearest == k].mean() for k in range(len(centroids))])
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def normal(num, seed=0):
    return np.random.default_rng(seed).normal(size=num).astype(np.float32)


def test_two_heaps_have_two_centroids():
    values = np.array([1.0, 5.5, 1.5, 5.0, 0.5], np.float32)
    codebook, indices = kmeans_codebook(values, 2)
    assert codebook.tolist() == [1.0, 5.25]
    assert indices.tolist() == [0, 1, 0, 1, 0]


def test_linear_initialisation_agrees_with_the_textbook():
    values = normal(3000).astype(np.float64)
    expected = lloyd(values, np.linspace(values.min(), values.max(), 12))
    codebook, _ = kmeans_codebook(values.astype(np.float32), 12, "linear")
    np.testing.assert_allclose(codebook, expected, rtol=1e-4)


def test_density_initialisation_agrees_with_the_textbook():
    values = normal(3000).astype(np.float64)
    start = np.sort(values)[[125, 375, 625, 875, 1125, 1375, 1625, 1875, 2125, 2375, 2625, 2875]]
    codebook, _ = kmeans_codebook(values.astype(np.float32), 12, "density")
    np.testing.assert_allclose(codebook, lloyd(values, start), rtol=1e-4)


def test_random_initialisation_depends_on_the_seed_alone():
    values = normal(500)
    first, again = (kmeans_codebook(values, 8, "random", seed=5)[0] for _ in range(2))
    other = kmeans_codebook(values, 8, "random", seed=6)[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("init", INITS)
def test_pruned_weights_leave_no_centroid_idle(init):
    values = normal(20_000)
    values = values[np.abs(values) > 1.7]  # linear centroids start in the gap, too
    codebook, indices = kmeans_codebook(values, 16, init)
    assert len(codebook) == 16
    assert (np.bincount(indices) > 0).all()


@pytest.mark.parametrize("init", INITS)
def test_outliers_do_not_starve_the_rest(init):
    values = np.concatenate([normal(1000), np.array([1000.0, -2000.0], np.float32)])
    codebook, indices = kmeans_codebook(values, 8, init)
    assert len(codebook) == 8
    assert squared_error(values, codebook, indices) / len(values) < 0.1


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("num_distinct", [1, 2, 7, 8])
def test_few_distinct_values_are_kept_exactly(init, num_distinct):
    values = np.tile(normal(num_distinct), 5)
    codebook, indices = kmeans_codebook(values, 8, init)
    assert np.array_equal(codebook, np.unique(values))
    assert np.array_equal(codebook[indices], values)


def test_no_values_have_no_centroids():
    codebook, indices = kmeans_codebook(np.zeros(0, np.float32), 4)
    assert codebook.shape == indices.shape == (0,)
    assert codebook.dtype == np.float32


@pytest.mark.parametrize("num_centroids", [1, 2, 3])
def test_six_values_are_split_as_well_as_can_be(num_centroids):
    values = np.array([-5.0, -4.9, 0.2, 0.4, 7.0, 7.5], np.float32)
    best = min(
        sum(float(np.var(part)) * len(part) for part in np.split(values, cuts))
        for cuts in itertools.combinations(range(1, 6), num_centroids - 1)
    )
    found = squared_error(values, *kmeans_codebook(values, num_centroids))
    assert found == pytest.approx(best, rel=1e-5)


def test_neighbouring_floats_are_distinct_centroids_or_one():
    values = np.nextafter(np.float32(1), np.float32(2)) ** np.arange(5, dtype=np.float32)
    codebook, indices = kmeans_codebook(values, 3)
    assert 1 <= len(codebook) <= 3
    assert len(np.unique(codebook)) == len(codebook)
    assert np.abs(codebook[indices] - values).max() < 1e-6


def test_lenets_largest_layer_takes_well_under_a_second():
    values = normal(400_000)
    start = time.perf_counter()
    kmeans_codebook(values, 256)
    assert time.perf_counter() - start < 2.0  # 0.1 s on an idle core


@pytest.mark.parametrize("init", INITS)
def test_each_bit_more_helps(init):
    values = normal(5000)
    errors = [squared_error(values, *kmeans_codebook(values, 2**bits, init)) for bits in range(9)]
    assert all(more < 0.8 * fewer for fewer, more in itertools.pairwise(errors))
