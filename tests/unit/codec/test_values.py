import numpy as np
import pytest

from sigdca.codec import values
from sigdca.codec.values import MAX_CENTROIDS, Form, share


def check(weights, rows=1):
    """That library and Python find the same, and that it is what the weights are."""
    weights = np.asarray(weights, np.float32)
    found, plain = share(weights, rows), share(weights, rows, fast=False)
    assert (found.form, found.step) == (plain.form, plain.step)
    assert found.values.tobytes() == plain.values.tobytes()
    assert found.levels.tolist() == plain.levels.tolist()
    assert [piece.size for piece in found.pieces] == [piece.size for piece in plain.pieces]
    for piece, other in zip(found.pieces, plain.pieces, strict=True):
        assert (piece.places.dtype, piece.levels.dtype) == (np.uint32, np.int32)
        assert piece.places.tolist() == other.places.tolist()
        assert piece.levels.tolist() == other.levels.tolist()
    if found.form is not Form.RAW:
        assert sum(piece.size for piece in found.pieces) == len(weights)
        assert restored(found).tobytes() == (weights + np.float32(0)).tobytes()
    return found


def restored(found):
    """Weights from levels and values."""
    of_level = dict(zip(found.levels.tolist(), found.values.tolist(), strict=True)) | {0: 0.0}
    return np.array([of_level[level] for level in found.all_levels().tolist()], np.float32)


def test_nothing_but_zeros():
    found = check([0, -0.0, 0], rows=3)
    assert found.form is Form.ZEROS
    assert len(found.values) == 0
    assert [len(piece.places) for piece in found.pieces] == [0]


def test_a_grid_has_levels_in_steps():
    found = check([0, -1.5, 0.25, 0, 1.0, 0.25])
    assert (found.form, found.step) == (Form.GRID, 0.25)
    assert found.values.tolist() == [-1.5, 0.25, 1.0]
    assert found.levels.tolist() == [-6, 1, 4]


def test_a_codebook_has_levels_by_rank():
    found = check(np.tile(np.float32([0, np.pi, -np.pi, -1, 7]), 50))
    assert found.form is Form.CODEBOOK
    assert found.values.tolist() == [np.float32(-np.pi), -1, np.float32(np.pi), 7]
    assert found.levels.tolist() == [-2, -1, 1, 2]


@pytest.mark.parametrize(
    "weights",
    [
        [1e-45, -1e-45, 3.4e38, -3.4e38, 0] * 40,
        [1.0, 1.0000001] * 100,
        np.arange(-300, 300) * 0.5,
        np.arange(1, 100) * 0.1,
        [5.0],
    ],
)
def test_any_values(weights):
    check(weights)


def test_a_minus_zero_is_a_zero():
    found = check([-0.0, 1.0, -0.0, 2.0])
    assert found.pieces[0].places.tolist() == [1, 3]
    assert not np.signbit(restored(found)).any()


def test_values_without_end_lie_raw():
    drawn = np.random.default_rng(0).normal(size=1000)
    found = check(drawn)
    assert found.form is Form.RAW
    assert found.pieces == ()


@pytest.mark.parametrize("count", [MAX_CENTROIDS, MAX_CENTROIDS + 1])
def test_as_many_values_as_an_index_tells_apart(count):
    weights = np.sqrt(np.arange(1, count + 1)).astype(np.float32)
    assert len(np.unique(weights)) == count
    weights = np.repeat(weights, 8)
    found = check(np.append(weights, np.zeros(len(weights), np.float32)))
    assert found.form is (Form.RAW if count > MAX_CENTROIDS else Form.CODEBOOK)


@pytest.mark.parametrize(("rows", "size", "expected"), [(8, 80, 30), (2, 80, 40), (80, 80, 32)])
def test_chunks_are_whole_rows(monkeypatch, rows, size, expected):
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", 32)
    assert values.chunk_size(rows, size) == expected


@pytest.mark.parametrize("rows", [1, 3, 60, 600])
def test_chunk_by_chunk(monkeypatch, rows):
    """A value is numbered where it is first met, and stands in its order nonetheless."""
    rng = np.random.default_rng(rows)
    weights = np.where(rng.random(600) < 0.3, rng.integers(-9, 9, 600) * np.float32(np.pi), 0)
    whole = check(weights, rows)
    monkeypatch.setattr(values, "CHUNK_WEIGHTS", 50)
    parts = check(weights, rows)
    assert len(parts.pieces) == -(-600 // values.chunk_size(rows, 600))
    assert parts.all_levels().tolist() == whole.all_levels().tolist()
    assert parts.values.tobytes() == whole.values.tobytes()
