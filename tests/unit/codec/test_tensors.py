import numpy as np
import pytest

from sigdca.codec import tensors as module
from sigdca.codec.errors import CodebookError, ValueRangeError
from sigdca.codec.layout import Kind, entry_bytes
from sigdca.codec.tensors import get_tensor, put_tensor

DENSE = {Kind.DENSE}
SHARED = {Kind.CODEBOOK, Kind.INDICES}
SPARSE = {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS}


def round_trip(flat):
    sections = put_tensor(flat, 0, "x")
    views = {kind: memoryview(payload) for kind, payload in sections.items()}
    weights, codebook = get_tensor(views, len(flat), "x")
    assert weights.dtype == np.float32
    assert (codebook is None) == (set(sections) == DENSE)
    return set(sections), weights


def sparse(size, density, centroids, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=centroids).astype(np.float32)
    return np.where(rng.random(size) < density, rng.choice(values, size), 0).astype(np.float32)


@pytest.mark.parametrize(
    ("flat", "form"),
    [
        (np.random.default_rng(0).normal(size=1000).astype(np.float32), DENSE),
        (np.zeros(1, np.float32), DENSE),
        (np.array([0, 0, 1.5], np.float32), DENSE),
        (np.zeros(1000, np.float32), SHARED),
        (np.full(1000, -2, np.float32), SHARED),
        (sparse(10_000, 1, 16), SHARED),
        (sparse(10_000, 0.9, 16), SHARED),
        (sparse(10_000, 0.1, 16), SPARSE),
        (sparse(100_000, 0.001, 16), SPARSE),
        (sparse(10_000, 0.1, 1), SPARSE),
        (sparse(10_000, 0.05, 100_000), SPARSE),  # nothing shared, but few weights
        (sparse(20_000, 0.3, 1000), SPARSE),
    ],
)
def test_form_and_bits(flat, form):
    got, weights = round_trip(flat)
    assert got == form
    assert weights.tobytes() == flat.tobytes()


@pytest.mark.parametrize("density", [0.02, 0.3, 0.6, 0.8, 0.95, 1])
@pytest.mark.parametrize("centroids", [1, 3, 40])
def test_takes_the_smallest_form(density, centroids, monkeypatch):
    flat = sparse(1000, density, centroids)

    def size(sections):
        return sum(len(data) + entry_bytes(0, len(data)) for data in sections.values())

    every = module._Shared.ordered(*module._distinct(flat, "x"))
    candidates = [module._put_raw(flat), module._put_shared(every, flat)]
    if (flat == 0).any():
        some = module._Shared.ordered(*module._distinct(flat[flat != 0], "x"))
        gaps = module._gaps(flat)
        candidates += [module._put_sparse(some, flat, gaps, bits) for bits in range(2, 9)]
    assert size(put_tensor(flat, 0, "x")) == min(map(size, candidates))


@pytest.mark.parametrize(
    "make", [lambda n: np.zeros(n), lambda n: np.random.default_rng(0).random(n)]
)
def test_minus_zero_becomes_zero(make):
    flat = make(50).astype(np.float32)
    flat[[0, 7, 49]] = -0.0
    _, weights = round_trip(flat)
    assert not np.signbit(weights).any()
    assert (weights == flat).all()


def test_subnormals_and_extremes_keep_their_bits():
    values = np.float32([1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.17549435e-38])
    flat = np.tile(np.concatenate([values, np.zeros(5, np.float32)]), 100)
    form, weights = round_trip(flat)
    assert form != DENSE
    assert weights.tobytes() == flat.tobytes()


def test_65536_centroids_and_zero():
    values = np.arange(1, 65537, dtype=np.float32)
    flat = np.zeros(400_000, np.float32)
    flat[::4][:65536] = values
    form, weights = round_trip(flat)
    assert form == SPARSE
    assert weights.tobytes() == flat.tobytes()
    flat[1] = 0.5  # one too many
    form, weights = round_trip(flat)
    assert form == DENSE
    assert weights.tobytes() == flat.tobytes()


def test_a_value_too_many_in_a_later_piece(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 1 << 17)
    flat = np.zeros(400_000, np.float32)
    flat[:65536] = np.arange(1, 65537)
    assert round_trip(flat)[0] == SPARSE
    flat[300_000] = 0.5
    form, weights = round_trip(flat)
    assert form == DENSE
    assert weights.tobytes() == flat.tobytes()


def test_across_pieces(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)
    flat = sparse(1000, 0.2, 5)
    flat[100:400] = 0
    form, weights = round_trip(flat)
    assert form == SPARSE
    assert weights.tobytes() == flat.tobytes()
    form, weights = round_trip(sparse(1000, 0.9, 5))
    assert form == SHARED
    assert weights.tobytes() == sparse(1000, 0.9, 5).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(value, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)
    flat = np.zeros(200, np.float32)
    flat[150] = value
    with pytest.raises(ValueRangeError, match=rf"^x: weight 150 is {value}, must be finite"):
        put_tensor(flat, 0, "x")


def test_looks_for_what_is_not_finite_behind_a_full_codebook():
    flat = np.random.default_rng(0).random(3 << 20, np.float32)
    flat[-1] = np.nan
    with pytest.raises(ValueRangeError, match=f"weight {len(flat) - 1} is nan"):
        put_tensor(flat, 0, "x")


def test_refuses_a_codebook_that_is_too_long():
    codebook = np.arange(65537, dtype="<f4").tobytes()
    sections = {Kind.CODEBOOK: memoryview(codebook), Kind.INDICES: memoryview(b"\0")}
    with pytest.raises(CodebookError, match=r"has 262148 bytes, must be 4 times 1\.\.65536"):
        get_tensor(sections, 100_000, "x")


def test_short_codes_come_first():
    flat = np.repeat(np.float32([1, 2, 3, 4]), [10, 4000, 100, 1000])
    codebook = np.frombuffer(put_tensor(flat, 0, "x")[Kind.CODEBOOK], "<f4")
    assert codebook.tolist()[:2] == [2, 4]
