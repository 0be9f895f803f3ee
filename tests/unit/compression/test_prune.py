import math

import pytest
import torch

from sigdca.compression import (
    PruneHook,
    cubic_sparsity,
    magnitude_importance,
    mask_for,
    prune_,
)
from sigdca.compression.prune import SCORE_STEPS

SPARSITY = {"conv1": 0.5, "ip1": 0.9}


def num_zero(weight):
    return int((weight == 0).sum())


def test_the_smallest_magnitudes_go():
    weight = torch.tensor([[-3.0, 0.1], [0.2, -0.05]])
    mask = mask_for(magnitude_importance(weight), 0.5)
    assert mask.tolist() == [[True, False], [True, False]]


def test_of_equal_scores_the_first_go():
    assert mask_for(torch.ones(6), 0.5).tolist() == [False] * 3 + [True] * 3
    scores = torch.tensor([2.0, 1.0, 2.0, 0.0, 2.0])
    assert mask_for(scores, 0.6).tolist() == [False, False, True, False, True]


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_none_and_all(sparsity):
    assert num_zero(mask_for(torch.rand(7, 3), sparsity)) == 21 * sparsity


def test_a_weight_in_another_memory_order():
    weight = torch.arange(12.0).reshape(3, 4).t()
    assert mask_for(weight, 0.25).logical_not().nonzero().tolist() == [[0, 0], [1, 0], [2, 0]]


def test_the_ramp_is_zhu_and_guptas_cubic():
    assert cubic_sparsity(0.8, 0.0) == 0.0
    assert cubic_sparsity(0.8, 0.5) == pytest.approx(0.8 * (1 - 0.5**3))
    assert cubic_sparsity(0.8, 1.0) == 0.8
    assert cubic_sparsity(0.8, 7.0) == 0.8


def test_pruning_at_once_touches_only_the_layers_named(net, make_net):
    masks = prune_(net, SPARSITY)
    before = make_net().state_dict()
    assert num_zero(net.conv1.weight) == 18
    assert num_zero(net.ip1.weight) == 1152
    assert torch.equal(net.ip1.weight, before["ip1.weight"] * masks["ip1"])
    for name in ("conv1.bias", "ip1.bias", "ip2.weight", "ip2.bias"):
        assert torch.equal(net.state_dict()[name], before[name])


def test_a_pruned_negative_weight_is_a_positive_zero(net):
    prune_(net, {"ip1": 0.99})
    zeros = net.ip1.weight[net.ip1.weight == 0]
    assert not torch.signbit(zeros).any()


def test_an_importance_of_ones_own_decides(net):
    prune_(net, {"ip2": 0.5}, importance=lambda weight: -weight.detach().abs())
    kept = net.ip2.weight[net.ip2.weight != 0].abs()
    assert kept.max() < 0.2


def test_pruning_twice_is_pruning_once(net):
    prune_(net, SPARSITY)
    once = net.ip1.weight.clone()
    prune_(net, SPARSITY)
    assert torch.equal(net.ip1.weight, once)


@pytest.mark.parametrize(
    ("schedule", "ramp", "expected"),
    [
        ("one-shot", 0.6, [1152] * 5),
        ("gradual", 0.6, [round(1280 * cubic_sparsity(0.9, k / 3)) for k in (1, 2, 3, 3, 3)]),
        ("gradual", 1.0, [round(1280 * cubic_sparsity(0.9, k / 5)) for k in (1, 2, 3, 4, 5)]),
        ("gradual", 0.01, [1152] * 5),
    ],
)
def test_each_epoch_has_the_schedules_sparsity(net, schedule, ramp, expected):
    hook = PruneHook(SPARSITY, schedule, ramp)
    found = []
    for epoch in range(5):
        hook.before_epoch(net, epoch, 5)
        found.append(num_zero(net.ip1.weight))
    assert found == expected


def test_masks_hold_over_steps(net, retrain, make_optimizer):
    optimizer = make_optimizer(net)
    # Momentum from before the pass must not revive a weight either.
    retrain(net, PruneHook({}), optimizer, [0], 1)
    before = net.ip1.weight.clone()
    retrain(net, PruneHook(SPARSITY, "one-shot"), optimizer, [0], 1)
    mask = mask_for(magnitude_importance(before), 0.9)
    assert torch.equal(net.ip1.weight != 0, mask)
    assert not torch.equal(net.ip1.weight[mask], before[mask])
    assert num_zero(net.conv1.weight) == 18
    assert num_zero(net.ip2.weight) == 0


def test_pruned_weights_stay_pruned_in_later_epochs(net, retrain, make_optimizer):
    hook = PruneHook(SPARSITY, "gradual", 0.75)
    optimizer = make_optimizer(net)
    gone = torch.zeros_like(net.ip1.weight, dtype=torch.bool)
    for epoch in range(4):
        retrain(net, hook, optimizer, [epoch], 4)
        assert (net.ip1.weight[gone] == 0).all()
        gone = net.ip1.weight == 0
    assert num_zero(net.ip1.weight) == 1152


@pytest.mark.parametrize("importance", ["magnitude", "movement"])
def test_a_layer_that_is_sparse_already_stays_so(net, retrain, make_optimizer, importance):
    prune_(net, {"ip1": 0.8})
    gone = net.ip1.weight == 0
    hook = PruneHook(SPARSITY, "gradual", 0.75, importance)
    optimizer = make_optimizer(net)
    found = []
    for epoch in range(4):
        retrain(net, hook, optimizer, [epoch], 4)
        assert (net.ip1.weight[gone] == 0).all()
        found.append(num_zero(net.ip1.weight))
    assert found == [1024, round(1280 * cubic_sparsity(0.9, 2 / 3)), 1152, 1152]


@pytest.mark.parametrize("importance", ["magnitude", "movement"])
def test_a_layer_that_is_sparse_already_can_be_resumed(resumed_equals_whole, importance):
    resumed_equals_whole(
        lambda model: prune_(model, {"ip1": 0.8}),
        lambda: PruneHook(SPARSITY, "gradual", 0.75, importance),
    )


def test_gradients_of_pruned_weights_are_cleared(net):
    hook = PruneHook(SPARSITY, "one-shot")
    hook.before_epoch(net, 0, 1)
    net(torch.ones(1, 1, 6, 6)).sum().backward()
    net.conv1.weight.grad = None  # a frozen layer
    hook.after_backward(net)
    assert (net.ip1.weight.grad[net.ip1.weight == 0] == 0).all()
    assert (net.ip1.weight.grad != 0).any()


def test_resuming_at_any_epoch_changes_nothing(resumed_equals_whole):
    resumed_equals_whole(lambda model: None, lambda: PruneHook(SPARSITY, "gradual", 0.75))


def moved(net, steps, pull):
    """Steps of movement pruning in which the gradient of `ip2` is `pull`."""
    hook = PruneHook({"ip2": 0.5}, "one-shot", importance="movement")
    before = num_zero(net.ip2.weight)
    hook.before_epoch(net, 0, 1)
    assert num_zero(net.ip2.weight) == before
    for _ in range(steps):
        step(net, hook, pull)
    return hook


def step(net, hook, pull):
    """One step in which the gradient of `ip2` is `pull`; the optimizer moves nothing."""
    net.ip2.weight.grad = pull.clone()
    hook.after_backward(net)
    hook.after_step(net)


@pytest.mark.parametrize("steps", [1, SCORE_STEPS - 1])
def test_movement_takes_the_weights_that_training_shrinks(net, steps):
    pull = torch.ones_like(net.ip2.weight)
    pull[:, ::2] = -1.0
    weight = net.ip2.weight.detach().clone()
    hook = moved(net, steps, pull)
    assert num_zero(net.ip2.weight) == 0
    hook.after_last_step(net)
    gone = net.ip2.weight == 0
    assert gone.sum() == 30
    growing = -weight * pull
    assert growing[gone].max() <= growing[~gone].min()


def test_movement_prunes_as_soon_as_it_has_seen_enough(net):
    pull = torch.randn(net.ip2.weight.shape, generator=torch.Generator().manual_seed(0))
    hook = moved(net, SCORE_STEPS, pull)
    gone = net.ip2.weight == 0
    assert gone.sum() == 30
    hook.after_last_step(net)
    assert torch.equal(net.ip2.weight == 0, gone)


@pytest.mark.parametrize("overflow", [math.inf, -math.inf, math.nan])
def test_movement_does_not_count_steps_that_overflow(net, overflow):
    pull = torch.randn(net.ip2.weight.shape, generator=torch.Generator().manual_seed(0))
    weight = net.ip2.weight.detach().clone()
    hook = moved(net, 1, pull)
    bad = -10 * pull
    bad[:, ::2] = overflow
    step(net, hook, bad)
    hook.after_last_step(net)
    assert torch.equal(net.ip2.weight != 0, mask_for(-weight * pull, 0.5))


def test_movement_does_not_count_steps_that_overflow_in_another_layer(net):
    """GradScaler skips the whole step."""
    pull = torch.randn(net.ip2.weight.shape, generator=torch.Generator().manual_seed(0))
    weight = net.ip2.weight.detach().clone()
    hook = moved(net, SCORE_STEPS - 1, pull)
    net.conv1.bias.grad = torch.full((4,), math.inf)
    for _ in range(3):
        step(net, hook, -SCORE_STEPS * pull)
    assert num_zero(net.ip2.weight) == 0
    net.conv1.bias.grad = None
    step(net, hook, pull)
    assert torch.equal(net.ip2.weight != 0, mask_for(-weight * pull, 0.5))


def test_movement_does_not_count_steps_that_overflow_where_weights_are_pruned(net):
    pull = torch.randn(net.ip2.weight.shape, generator=torch.Generator().manual_seed(0))
    prune_(net, {"ip2": 0.1})
    gone = net.ip2.weight == 0
    weight = net.ip2.weight.detach().clone()
    hook = moved(net, 1, pull)
    step(net, hook, torch.where(gone, math.inf, -10 * pull))
    hook.after_last_step(net)
    growing = (-weight * pull).masked_fill(gone, -math.inf)
    assert torch.equal(net.ip2.weight != 0, mask_for(growing, 0.5))


def test_movement_never_brings_a_weight_back(net, retrain, make_optimizer):
    hook = PruneHook(SPARSITY, "gradual", 0.75, "movement")
    optimizer = make_optimizer(net)
    gone = torch.zeros_like(net.ip1.weight, dtype=torch.bool)
    for epoch in range(4):
        retrain(net, hook, optimizer, [epoch], 4)
        assert (net.ip1.weight[gone] == 0).all()
        gone = net.ip1.weight == 0
    assert num_zero(net.ip1.weight) == 1152


def test_movement_can_be_resumed_at_any_epoch(resumed_equals_whole):
    resumed_equals_whole(
        lambda model: None, lambda: PruneHook(SPARSITY, "gradual", 0.75, "movement")
    )
