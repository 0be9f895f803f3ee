import pytest
import torch
from torch import nn
from torch.nn import functional

from sigdca.compression import QuantizeHook, quantize_
from sigdca.compression.quantize import fold_norms_, grid_step, levels_of, parameter_steps

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


class NormedNet(nn.Module):
    """A convolution and a batch norm, with statistics as after training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, bias=False)
        self.norm1 = nn.BatchNorm2d(6)
        with torch.no_grad():
            for value in (self.conv1.weight, self.norm1.weight, self.norm1.bias):
                value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
            self.norm1.running_mean.copy_(torch.linspace(-1, 1, 6))
            self.norm1.running_var.copy_(torch.linspace(0.1, 2, 6))

    def forward(self, x):
        return self.norm1(self.conv1(x)).mean((2, 3))


def test_a_folded_norm_computes_the_same_with_few_values():
    net, images = NormedNet().eval(), torch.randn(4, 1, 8, 8)
    before = net(images)
    fold_norms_(net, 1e-6)
    assert torch.allclose(net(images), before, atol=1e-4)
    fold_norms_(net, 1 / 64)
    assert torch.allclose(net(images), before, atol=0.2)
    assert not torch.equal(net(images), before)
    for values in (net.norm1.weight, net.norm1.bias):
        levels = values.detach().abs() / values.detach().abs().max() * 64
        assert float((levels - levels.round()).abs().max()) < 0.3
    assert net.norm1.running_mean.tolist() == [0.0] * 6
    assert len(net.norm1.running_var.unique()) == 1


def test_a_channel_that_is_always_the_same_has_no_scale():
    net, images = NormedNet().eval(), torch.randn(4, 1, 8, 8)
    net.conv1.bias = nn.Parameter(torch.full((6,), 0.1))
    with torch.no_grad():
        net.conv1.weight[2] = 0
        net.norm1.running_mean[2] = 0.1
        net.norm1.running_var[2] = 1e-12
    before = net(images)
    fold_norms_(net, 1e-6)
    assert net.norm1.weight[2] == 0
    assert torch.allclose(net(images), before, atol=1e-4)


@pytest.mark.parametrize("norm_step", [None, 1 / 64])
def test_norms_are_folded_after_the_last_epoch(norm_step):
    net = NormedNet()
    hook = QuantizeHook({"conv1.weight": 0.1}, 1e-5, norm_step=norm_step)
    for epoch in range(2):
        assert net.norm1.running_mean.any()
        hook.before_epoch(net, epoch, 2)
        hook.after_epoch(net, epoch, 2)
    assert bool(net.norm1.running_mean.any()) == (norm_step is None)


def test_a_norm_without_parameters_or_statistics_is_left_alone():
    net = nn.Sequential(
        nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, track_running_stats=False)
    )
    fold_norms_(net, 1 / 64)
    assert torch.equal(net[0].running_var, torch.ones(3))
