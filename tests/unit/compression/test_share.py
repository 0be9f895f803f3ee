import numpy as np
import pytest
import torch
from torch import nn

from sigdca.compression import ShareHook, prune_, share_

BITS = {"conv1": 3, "ip1": 2, "ip2": 8}


def values_of(weight):
    return np.unique(weight.detach().numpy()[weight.detach().numpy() != 0])


@pytest.fixture
def shared(net):
    prune_(net, {"conv1": 0.25, "ip1": 0.8})
    share_(net, BITS)
    return net


def test_a_layer_has_at_most_its_centroids_besides_zero(net):
    prune_(net, {"conv1": 0.25, "ip1": 0.8})
    masks = {name: weight != 0 for name, weight in net.state_dict().items()}
    found = share_(net, BITS)
    assert found == {"conv1": 8, "ip1": 4, "ip2": 60}
    for layer in BITS:
        weight = net.state_dict()[f"{layer}.weight"]
        assert len(values_of(weight)) == found[layer]
        assert torch.equal(weight != 0, masks[f"{layer}.weight"])


def test_each_weight_takes_the_nearest_centroid(net, make_net):
    share_(net, {"ip1": 3})
    before = make_net().ip1.weight.detach()
    centroids = torch.from_numpy(values_of(net.ip1.weight))
    nearest = (before.reshape(-1, 1) - centroids).abs().min(dim=1).values
    assert torch.equal((net.ip1.weight.detach() - before).abs().reshape(-1), nearest)


def test_layers_that_are_not_named_and_biases_stay(net, make_net):
    share_(net, {"ip1": 3})
    before = make_net().state_dict()
    for name in set(before) - {"ip1.weight"}:
        assert torch.equal(net.state_dict()[name], before[name])


def test_fewer_distinct_weights_than_centroids_stay_exact(net, make_net):
    share_(net, {"ip2": 8})
    assert torch.equal(net.ip2.weight, make_net().ip2.weight)


def test_a_layer_of_zeros_has_no_centroids(net, retrain, make_optimizer):
    with torch.no_grad():
        net.ip1.weight.zero_()
    assert share_(net, {"ip1": 4}) == {"ip1": 0}
    retrain(net, ShareHook(["ip1"]), make_optimizer(net), [0], 1)
    assert (net.ip1.weight == 0).all()


def test_negative_zero_is_no_weight(net, retrain, make_optimizer):
    with torch.no_grad():
        net.ip2.weight[0] = -0.0
    share_(net, {"ip2": 2})
    assert len(values_of(net.ip2.weight)) == 4
    retrain(net, ShareHook(["ip2"]), make_optimizer(net), [0], 1)
    assert (net.ip2.weight[0] == 0).all()


def test_the_seed_decides_random_centroids(make_net):
    results = []
    for seed in (1, 1, 2):
        model = make_net()
        share_(model, {"ip1": 3}, "random", seed)
        results.append(model.ip1.weight)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_centroids_get_the_sum_of_their_weights_gradients(shared):
    hook = ShareHook(BITS)
    hook.before_epoch(shared, 0, 1)
    images = torch.linspace(-1, 1, 144).reshape(4, 1, 6, 6)
    shared(images).square().sum().backward()
    weight, own = shared.ip1.weight.detach(), shared.ip1.weight.grad.clone()
    shared.conv1.weight.grad = None  # a frozen layer
    hook.after_backward(shared)
    for value in values_of(weight):
        members = weight == torch.tensor(value)
        tied = shared.ip1.weight.grad[members]
        assert len(tied.unique()) == 1
        assert float(tied[0]) == pytest.approx(float(own[members].double().sum()), rel=1e-5)
    assert (shared.ip1.weight.grad[weight == 0] == 0).all()


def test_a_weight_of_two_layers_has_its_gradients_summed_once():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    net[1].weight = net[0].weight
    share_(net, {"0": 1, "1": 1})
    hook = ShareHook(["0", "1"])
    hook.before_epoch(net, 0, 1)
    net[0].weight.grad = torch.ones_like(net[0].weight)
    hook.after_backward(net)
    assert int(net[0].weight.grad.sum()) == sum(
        int((net[0].weight == value).sum()) ** 2 for value in net[0].weight.unique()
    )


def test_weights_stay_tied_and_zeros_zero_over_steps(shared, retrain, make_optimizer):
    before = {layer: shared.get_submodule(layer).weight.detach().clone() for layer in BITS}
    retrain(shared, ShareHook(BITS), make_optimizer(shared, 1e-3), [0, 1], 2, steps=10)
    for layer, old in before.items():
        weight = shared.get_submodule(layer).weight.detach()
        assert not torch.equal(weight, old)
        assert (weight[old == 0] == 0).all()
        for value in values_of(old):
            assert len(weight[old == torch.tensor(value)].unique()) == 1


def test_steps_that_tear_centroids_apart_are_undone(shared):
    hook = ShareHook(["ip1"])
    hook.before_epoch(shared, 0, 1)
    tied = values_of(shared.ip1.weight)
    with torch.no_grad():
        shared.ip1.weight.add_(torch.rand_like(shared.ip1.weight) * 1e-6)
    hook.after_step(shared)
    assert len(values_of(shared.ip1.weight)) == len(tied)
    np.testing.assert_allclose(values_of(shared.ip1.weight), tied, atol=2e-6)


def test_centroids_that_have_met_are_one_from_the_next_epoch_on(shared):
    hook = ShareHook(["ip1"])
    hook.before_epoch(shared, 0, 2)
    low, *_, high = values_of(shared.ip1.weight)
    with torch.no_grad():
        shared.ip1.weight[shared.ip1.weight == torch.tensor(low)] = float(high)
    hook.before_epoch(shared, 1, 2)
    shared.ip1.weight.grad = torch.ones_like(shared.ip1.weight)
    hook.after_backward(shared)
    merged = shared.ip1.weight == torch.tensor(high)
    assert (shared.ip1.weight.grad[merged] == merged.sum()).all()


def test_resuming_at_any_epoch_changes_nothing(resumed_equals_whole):
    def prepare_(model):
        prune_(model, {"ip1": 0.8})
        share_(model, BITS)

    resumed_equals_whole(prepare_, lambda: ShareHook(BITS))
