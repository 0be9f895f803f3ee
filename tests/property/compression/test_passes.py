import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from sigdca.compression import (
    PruneHook,
    ShareHook,
    kmeans_codebook,
    magnitude_importance,
    mask_for,
    share_,
)

INITS = st.sampled_from(["linear", "density", "random"])
# Weights of a network: magnitudes that float32 squares hold.
WEIGHTS = st.one_of(
    st.floats(-8, 8, width=32, allow_subnormal=False),
    st.sampled_from([0.0, -0.0, 0.5, -0.5]),
)
VECTORS = arrays.arrays(np.float32, st.integers(1, 60), elements=WEIGHTS)


def squared_error(values, codebook, indices):
    return float(((values.astype(np.float64) - codebook[indices]) ** 2).sum())


def layer_of(vector):
    layer = nn.Linear(len(vector), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(vector))
    return nn.Sequential(layer)


def non_zero_values(model):
    weight = model[0].weight.detach().numpy()
    return np.unique(weight[weight != 0])


@given(VECTORS, st.floats(0, 1))
def test_a_mask_has_exactly_the_sparsity_and_keeps_the_largest(vector, sparsity):
    importance = magnitude_importance(torch.from_numpy(vector))
    mask = mask_for(importance, sparsity)
    assert int((~mask).sum()) == round(sparsity * len(vector))
    if mask.any() and not mask.all():
        assert importance[~mask].max() <= importance[mask].min()


@given(VECTORS, st.floats(0, 1), st.floats(0, 1))
def test_a_sparser_mask_is_within_a_denser_one(vector, one, other):
    importance = magnitude_importance(torch.from_numpy(vector))
    sparser, denser = mask_for(importance, max(one, other)), mask_for(importance, min(one, other))
    assert not (sparser & ~denser).any()


@given(VECTORS, st.integers(1, 70), INITS, st.integers(0, 3))
def test_a_codebook_is_ascending_used_and_nearest(vector, num_centroids, init, seed):
    codebook, indices = kmeans_codebook(vector, num_centroids, init, seed)
    assert len(codebook) <= num_centroids
    assert (np.diff(codebook) > 0).all()
    assert np.array_equal(np.unique(indices), np.arange(len(codebook)))
    distances = np.abs(vector[:, None].astype(np.float64) - codebook[None, :])
    chosen = distances[np.arange(len(vector)), indices]
    assert np.array_equal(chosen, distances.min(axis=1))


@given(VECTORS, st.integers(1, 70))
def test_centroids_are_never_worse_than_the_line_that_they_start_from(vector, num_centroids):
    line = np.linspace(vector.min(), vector.max(), num_centroids).astype(np.float32)
    nearest = np.abs(vector[:, None] - line[None, :]).argmin(axis=1)
    found = squared_error(vector, *kmeans_codebook(vector, num_centroids, "linear"))
    assert found <= squared_error(vector, line, nearest) + 1e-5


@given(VECTORS, st.integers(0, 5), INITS)
@example(np.float32([-8, -0.5, 0.5, 8]), 1, "linear")
def test_sharing_keeps_zeros_and_bounds_the_number_of_values(vector, bits, init):
    model = layer_of(vector)
    (num_centroids,) = share_(model, {"0": bits}, init).values()
    assert len(non_zero_values(model)) <= num_centroids <= 2**bits
    weight = model[0].weight.detach().numpy()[0]
    assert (weight[vector == 0] == 0).all()
    again = layer_of(weight)
    share_(again, {"0": bits}, init)
    assert np.array_equal(again[0].weight.detach().numpy()[0], weight)


OPTIMIZERS = st.sampled_from(
    [
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=0.01),
        lambda parameters: torch.optim.Adam(parameters, 0.01),
        lambda parameters: torch.optim.Adam(parameters, 0.001, weight_decay=0.1),
    ]
)


def step(model, hook, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        inputs = torch.randn((3, model[0].in_features), generator=generator)
        optimizer.zero_grad()
        (model(inputs) - 1).square().sum().backward()
        hook.after_backward(model)
        optimizer.step()
        hook.after_step(model)


@given(VECTORS, OPTIMIZERS, st.integers(0, 3))
def test_ties_stay_tied_under_any_optimizer(vector, make_optimizer, seed):
    model, hook = layer_of(vector), ShareHook(["0"])
    hook.before_epoch(model, 0, 1)
    step(model, hook, make_optimizer(model.parameters()), seed)
    weight = model[0].weight.detach().numpy()[0]
    for value in np.unique(vector):
        assert len(np.unique(weight[vector == value])) == 1
    assert (weight[vector == 0] == 0).all()


@given(VECTORS, OPTIMIZERS, st.floats(0, 0.99), st.integers(0, 3))
def test_masks_hold_under_any_optimizer(vector, make_optimizer, sparsity, seed):
    model, hook = layer_of(vector), PruneHook({"0": sparsity}, "one-shot")
    hook.before_epoch(model, 0, 1)
    mask = mask_for(magnitude_importance(torch.from_numpy(vector)), sparsity).numpy()
    step(model, hook, make_optimizer(model.parameters()), seed)
    assert (model[0].weight.detach().numpy()[0][~mask] == 0).all()
