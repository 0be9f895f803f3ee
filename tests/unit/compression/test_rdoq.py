import pytest
import torch

from sigdca.compression import rdoq_
from sigdca.compression.quantize import grid_step

STEPS = {"conv1": 0.1, "ip1": 0.05, "ip2": 0.1}


def error_of(net, before):
    return sum(
        float(((net.get_parameter(name).detach() - before[name]) ** 2).sum())
        for name in ("conv1.weight", "ip1.weight", "ip2.weight")
    )


def test_a_price_of_nothing_rounds(net, make_net):
    rdoq_(net, STEPS, 0.0)
    before = make_net().state_dict()
    for name, value in net.state_dict().items():
        step = grid_step(STEPS[name.partition(".")[0]])
        assert torch.equal(value, torch.round(before[name] / step) * step)


def test_bits_fall_and_the_error_grows_with_the_price(make_net):
    before, bits, errors = make_net().state_dict(), [], []
    for rate_lambda in (0.0, 0.02, 0.1, 1.0):
        net = make_net()
        bits.append(rdoq_(net, STEPS, rate_lambda))
        errors.append(error_of(net, before))
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert bits[-1] < 0.2 * bits[0]


def test_bytes_are_saved_at_less_error_than_by_zeros_alone(make_net):
    """What the price empties is what would be missed least."""
    before = make_net().state_dict()
    chosen = make_net()
    rdoq_(chosen, {"ip1": 0.02}, 0.3)
    num_zero = int((chosen.ip1.weight == 0).sum())
    rounded = make_net()
    rdoq_(rounded, {"ip1": 0.02}, 0.0)
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(1280, generator=generator)[:num_zero]
    with torch.no_grad():
        rounded.ip1.weight.reshape(-1)[places] = 0
    assert error_of(chosen, before) < 0.7 * error_of(rounded, before)


def test_biases_have_their_own_step(net, make_net):
    rdoq_(net, {"ip2": 0.1}, 0.1, bias_step=0.25)
    before = make_net().ip2.bias
    assert torch.equal(net.ip2.bias, torch.round(before / 0.25) * 0.25)


def test_layers_without_a_step_are_left_alone(net, make_net):
    rdoq_(net, {"ip2": 0.1}, 0.1)
    assert torch.equal(net.conv1.weight, make_net().conv1.weight)


@pytest.mark.parametrize("rate_lambda", [0.0, 0.1])
def test_an_empty_layer_stays_empty(net, rate_lambda):
    with torch.no_grad():
        net.ip1.weight.zero_()
    assert rdoq_(net, {"ip1": 0.1}, rate_lambda) < 30
    assert not net.ip1.weight.any()
