import pytest
import torch

from sigdca.compression import HoldHook, PruneHook, QuantizeHook, ShareHook, prune_
from sigdca.compression.quantize import grid_step

STEPS = {"ip1.weight": 0.05, "ip2.weight": 0.05}
INNER = {
    "prune": lambda: PruneHook({"ip2": 0.5}),
    "movement": lambda: PruneHook({"ip2": 0.5}, importance="movement"),
    "share": lambda: ShareHook(["ip2"]),
    "quantize": lambda: QuantizeHook(STEPS, 1e-5),
}
EVERY_HOOK = pytest.mark.parametrize("make_inner", INNER.values(), ids=INNER.keys())


def pruned_(net):
    prune_(net, {"conv1": 0.5, "ip1": 0.7})


@EVERY_HOOK
def test_zeros_stay_and_all_else_moves(net, retrain, make_optimizer, make_inner):
    optimizer = make_optimizer(net)
    retrain(net, PruneHook({}), optimizer, [0], 1)  # momentum from before must not revive any
    pruned_(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    retrain(net, HoldHook(make_inner(), ["conv1", "ip1"]), optimizer, range(3), 3)
    for layer in (net.conv1, net.ip1):
        was = before["conv1.weight" if layer is net.conv1 else "ip1.weight"]
        assert (layer.weight[was == 0] == 0).all()
        assert (layer.weight[was != 0] != was[was != 0]).any()


def test_the_passes_own_hook_works_at_an_epochs_end(net, retrain, make_optimizer):
    hook = HoldHook(PruneHook({"ip2": 0.5}, "one-shot", importance="movement"), ["ip1"])
    retrain(net, hook, make_optimizer(net), [0], 1)
    assert int((net.ip2.weight == 0).sum()) == 30


def test_a_weight_that_rounds_to_zero_is_not_held(net, retrain, make_optimizer):
    pruned_(net)
    kept = net.ip1.weight != 0
    with torch.no_grad():
        net.ip1.weight[kept] = 0.4 * grid_step(0.05)
    hook = HoldHook(QuantizeHook(STEPS, 0.0), ["ip1"])
    retrain(net, hook, make_optimizer(net), range(3), 3)
    assert (net.ip1.weight[kept] != 0).any()
    assert (net.ip1.weight[~kept] == 0).all()


@EVERY_HOOK
def test_gradients_of_zeros_are_cleared(net, make_inner):
    pruned_(net)
    hook = HoldHook(make_inner(), ["conv1", "ip1"])
    gone = net.ip1.weight == 0
    hook.before_epoch(net, 0, 1)
    net(torch.ones(1, 1, 6, 6)).sum().backward()
    net.conv1.weight.grad = None  # a frozen layer
    hook.after_backward(net)
    assert (net.ip1.weight.grad[gone] == 0).all()
    assert (net.ip1.weight.grad != 0).any()


@EVERY_HOOK
def test_resuming_at_any_epoch_changes_nothing(resumed_equals_whole, make_inner):
    resumed_equals_whole(pruned_, lambda: HoldHook(make_inner(), ["conv1", "ip1"]))
