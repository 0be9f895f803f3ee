import pytest
import torch
from torch.nn import functional

from sigdca.compression import QuantizeHook, quantize_
from sigdca.compression.quantize import grid_step, levels_of, parameter_steps

STEPS = {"conv1.weight": 0.1, "conv1.bias": 0.05, "ip1.weight": 0.1, "ip2.weight": 0.1}


def on_grid(model, steps=STEPS):
    return all(
        torch.equal(levels_of(value, grid_step(step)) * grid_step(step), value)
        for name, step in steps.items()
        for value in [model.get_parameter(name).detach()]
    )


def test_steps_have_eight_bits_so_that_their_multiples_are_exact():
    for step in (0.1, 1 / 3, 7e-5, 123.4):
        taken = grid_step(step)
        assert taken == pytest.approx(step, rel=2**-8)
        assert torch.tensor(taken).item() == taken
        levels = torch.arange(-(2**15), 2**15, dtype=torch.float64)
        assert torch.equal((levels.float() * taken).double(), levels * taken)


def test_quantize_moves_each_weight_to_the_nearest_value(net, make_net):
    quantize_(net, STEPS)
    assert on_grid(net)
    before = make_net().state_dict()
    for name, value in net.state_dict().items():
        if name in STEPS:
            assert float((value - before[name]).abs().max()) <= 0.5001 * grid_step(STEPS[name])
        else:
            assert torch.equal(value, before[name])


def test_biases_have_their_own_step(net):
    assert parameter_steps(net, {"conv1": 0.1, "ip2": 0.2}, 0.05) == {
        "conv1.weight": 0.1,
        "conv1.bias": 0.05,
        "ip2.weight": 0.2,
        "ip2.bias": 0.05,
    }
    assert parameter_steps(net, {"ip2": 0.2}, None)["ip2.bias"] == 0.2
    net.ip2.bias = None
    assert parameter_steps(net, {"ip2": 0.2}, None) == {"ip2.weight": 0.2}


def test_the_network_computes_with_values_of_the_grid(net, make_optimizer):
    hook, optimizer = QuantizeHook(STEPS, 1e-5), make_optimizer(net)
    hook.before_epoch(net, 0, 2)
    for seed in range(5):
        assert on_grid(net)
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn((8, 1, 6, 6), generator=generator)
        functional.cross_entropy(net(images), torch.arange(8) % 3).backward()
        hook.after_backward(net)
        optimizer.step()
        hook.after_step(net)
        optimizer.zero_grad()
    assert on_grid(net)
    hook.after_epoch(net, 0, 2)
    assert not on_grid(net)


def test_small_steps_add_up_in_the_latent_weights(net):
    hook = QuantizeHook({"ip2.weight": 1.0}, 0.0)
    with torch.no_grad():
        net.ip2.weight.zero_()
    hook.before_epoch(net, 0, 1)
    for number in range(1, 8):
        with torch.no_grad():
            net.ip2.weight.add_(0.1)
        hook.after_step(net)
        expected = torch.full_like(net.ip2.weight, 0.0 if number <= 5 else 1.0)
        assert torch.equal(net.ip2.weight, expected), number


def test_a_price_on_bits_empties_the_network(make_net, retrain, make_optimizer):
    used = []
    for rate_lambda in (0.0, 1e-4, 1e-2):
        model = make_net()
        hook = QuantizeHook(STEPS, rate_lambda)
        retrain(model, hook, make_optimizer(model), range(6), 6, steps=30)
        assert on_grid(model)
        used.append(sum(int((model.get_parameter(name) != 0).sum()) for name in STEPS))
    assert used[0] > used[1] > used[2]


def test_a_weight_without_gradient_is_left_alone(net, make_optimizer):
    hook = QuantizeHook(STEPS, 1.0)
    net.ip1.weight.requires_grad_(False)
    hook.before_epoch(net, 0, 1)
    before = net.ip1.weight.clone()
    functional.cross_entropy(net(torch.ones(2, 1, 6, 6)), torch.tensor([0, 1])).backward()
    hook.after_backward(net)
    make_optimizer(net).step()
    hook.after_step(net)
    assert torch.equal(net.ip1.weight, before)


def test_resuming_at_any_epoch_changes_nothing(resumed_equals_whole):
    resumed_equals_whole(lambda model: None, lambda: QuantizeHook(STEPS, 1e-4, 0.75))
