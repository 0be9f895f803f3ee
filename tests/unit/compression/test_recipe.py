import pytest
import torch

from sigdca.compression import (
    PASSES,
    HoldHook,
    PruneHook,
    QuantizeHook,
    ShareHook,
    held_layers,
    hook_for,
    layers_of,
    prepare_,
)
from sigdca.errors import JobError
from sigdca.job import Pass, Prune, Quantize, Rdoq, Share

NUM_WEIGHTS = 36 + 1280 + 60


def test_the_table_has_every_pass_but_encode():
    assert {config.__name__.lower() for config in PASSES} == set(Pass.model_fields) - {"encode"}


def test_a_gradual_prune_that_retrains_leaves_it_to_the_hook(net, graph):
    config = Prune(sparsity=0.5, epochs=4, ramp=0.5)
    assert prepare_(net, config, 0, graph)["sparsity"] == 0.0
    hook = hook_for(config, net)
    assert isinstance(hook, PruneHook)
    num_zero = []
    for epoch in range(4):
        hook.before_epoch(net, epoch, 4)
        num_zero.append(int((net.ip1.weight == 0).sum()))
    assert num_zero == [560, 640, 640, 640]


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"schedule": "one-shot"}, {"schedule": "one-shot", "epochs": 0}]
)
def test_other_prunes_prune_at_once(net, settings, graph):
    metrics = prepare_(net, Prune(sparsity={"fc": 0.5}, **settings), 0, graph)
    assert metrics == {
        "num_weights": NUM_WEIGHTS,
        "num_nonzero": NUM_WEIGHTS - 670,
        "sparsity": 1 - (NUM_WEIGHTS - 670) / NUM_WEIGHTS,
    }
    assert (net.conv1.weight != 0).all()


@pytest.mark.parametrize("schedule", ["gradual", "one-shot"])
def test_a_prune_by_movement_leaves_it_to_the_hook(net, schedule, graph):
    config = Prune(sparsity=0.5, importance="movement", schedule=schedule, epochs=2, ramp=0.5)
    assert prepare_(net, config, 0, graph)["sparsity"] == 0.0
    hook = hook_for(config, net)
    hook.before_epoch(net, 0, 2)
    net(torch.ones(1, 1, 6, 6)).sum().backward()
    hook.after_backward(net)
    hook.after_step(net)
    hook.after_last_step(net)
    assert int((net.ip1.weight == 0).sum()) == 640


def test_share_shares_at_once_and_its_hook_keeps_it(net, graph):
    config = Share(bits={"conv": 3, "ip": 2})
    assert prepare_(net, config, 0, graph)["sparsity"] == 0.0
    assert len(net.conv1.weight.unique()) == 8
    assert len(net.ip1.weight.unique()) == len(net.ip2.weight.unique()) == 4
    assert isinstance(hook_for(config, net), ShareHook)


def test_a_quantize_that_retrains_leaves_it_to_the_hook(net, make_net, graph):
    config = Quantize(step=0.1, rate_lambda=1e-5, epochs=2)
    prepare_(net, config, 0, graph)
    before = make_net().state_dict()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert isinstance(hook_for(config, net), QuantizeHook)


def test_a_quantize_without_epochs_rounds_at_once(net, graph):
    config = Quantize(step={"fc": 0.125}, bias_step=0.25, rate_lambda=0, epochs=0)
    prepare_(net, config, 0, graph)
    for layer, step in (("ip1.weight", 0.125), ("ip2.weight", 0.125), ("ip2.bias", 0.25)):
        levels = net.get_parameter(layer).detach() / step
        assert torch.equal(levels, levels.round())
    conv = net.conv1.weight.detach() / 0.125
    assert not torch.equal(conv, conv.round())


def test_rdoq_chooses_at_once_and_its_hook_keeps_it(net, graph):
    config = Rdoq(step=0.1, rate_lambda=0.05)
    assert prepare_(net, config, 0, graph)["sparsity"] > 0.0
    levels = net.ip1.weight.detach() / 0.10009765625
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert isinstance(hook_for(config, net), ShareHook)


def test_the_seed_reaches_the_centroids(make_net, graph):
    weights = []
    for seed in (0, 0, 1):
        model = make_net()
        prepare_(model, Share(bits=3, init="random"), seed, graph)
        weights.append(model.ip1.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Prune(sparsity={"ip1": 0.9}), ("conv1",)),
        (Share(bits={"fc": 4}), ("conv1",)),
        (Share(bits=4), ()),
        (Rdoq(step={"conv": 0.1}, rate_lambda=0, epochs=1), ("ip1",)),
        (Quantize(step=0.1, rate_lambda=0), ("conv1", "ip1")),
    ],
)
def test_a_pass_holds_what_earlier_ones_pruned_and_it_does_not_itself(net, config, expected):
    pruned = [Prune(sparsity={"conv": 0.5}), Prune(sparsity={"ip1": 0.5})]
    held = held_layers(config, pruned, layers_of(net))
    assert held == expected
    assert isinstance(hook_for(config, net, held), HoldHook) is (held != ())
    assert held_layers(config, [], layers_of(net)) == ()


@pytest.mark.parametrize(
    "config",
    [
        Prune(sparsity={"ip9": 0.5}),
        Share(bits={"ip9": 5}),
        Quantize(step={"ip9": 0.1}, rate_lambda=0),
        Rdoq(step={"ip9": 0.1}, rate_lambda=0),
    ],
)
def test_an_unknown_layer_is_refused(net, config):
    with pytest.raises(JobError, match="no layer 'ip9' in the model"):
        hook_for(config, net)
