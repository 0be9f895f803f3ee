import numpy as np
import pytest
import torch
from torch import nn

from sigdca.codec.coders import open_coder
from sigdca.codec.levels import Limits
from sigdca.compression import rdoq_
from sigdca.compression.quantize import grid_step, levels_of
from sigdca.errors import JobError

STEPS = {"conv1": 0.1, "ip1": 0.05, "ip2": 0.1}


def error_of(net, before):
    return sum(
        float(((net.get_parameter(name).detach() - before[name]) ** 2).sum())
        for name in ("conv1.weight", "ip1.weight", "ip2.weight")
    )


def test_a_price_of_nothing_rounds(net, make_net, graph):
    rdoq_(net, graph, STEPS, 0.0)
    before = make_net().state_dict()
    for name, value in net.state_dict().items():
        step = grid_step(STEPS[name.partition(".")[0]])
        assert torch.equal(value, torch.round(before[name] / step) * step)


def test_bits_fall_and_the_error_grows_with_the_price(make_net, graph):
    before, bits, errors = make_net().state_dict(), [], []
    for rate_lambda in (0.0, 0.02, 0.1, 1.0):
        net = make_net()
        bits.append(rdoq_(net, graph, STEPS, rate_lambda))
        errors.append(error_of(net, before))
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert bits[-1] < 0.2 * bits[0]


def test_bytes_are_saved_at_less_error_than_by_zeros_alone(make_net, graph):
    """What the price empties is what would be missed least."""
    before = make_net().state_dict()
    chosen = make_net()
    rdoq_(chosen, graph, {"ip1": 0.02}, 0.3)
    num_zero = int((chosen.ip1.weight == 0).sum())
    rounded = make_net()
    rdoq_(rounded, graph, {"ip1": 0.02}, 0.0)
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(1280, generator=generator)[:num_zero]
    with torch.no_grad():
        rounded.ip1.weight.reshape(-1)[places] = 0
    assert error_of(chosen, before) < 0.7 * error_of(rounded, before)


def test_biases_have_their_own_step(net, make_net, graph):
    rdoq_(net, graph, {"ip2": 0.1}, 0.1, bias_step=0.25)
    before = make_net().ip2.bias
    assert torch.equal(net.ip2.bias, torch.round(before / 0.25) * 0.25)


def test_layers_without_a_step_are_left_alone(net, make_net, graph):
    rdoq_(net, graph, {"ip2": 0.1}, 0.1)
    assert torch.equal(net.conv1.weight, make_net().conv1.weight)


@pytest.mark.parametrize("rate_lambda", [0.0, 0.1])
def test_an_empty_layer_stays_empty(net, rate_lambda, graph):
    with torch.no_grad():
        net.ip1.weight.zero_()
    assert rdoq_(net, graph, {"ip1": 0.1}, rate_lambda) < 30
    assert not net.ip1.weight.any()


def test_an_image_behind_a_flatten_is_priced_as_it_is_coded(net, graph):
    """Columns of the image that are full or empty."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.rand((20, 4, 1, 4), generator=generator) < 0.5
    with torch.no_grad():
        net.ip1.weight.copy_(columns.expand(20, 4, 4, 4).reshape(20, 64) * 0.5)
    bits = rdoq_(net, graph, {"ip1": 0.5}, 0.01)
    levels = (net.ip1.weight.detach() / 0.5).numpy().astype(np.int32)
    assert bits == pytest.approx(8 * len(stream(levels, 4)), abs=16)
    assert bits < 0.9 * 8 * len(stream(levels, 0))


def stream(levels, stride):
    coder = open_coder(None, "")
    coder.levels(levels, stride, Limits(0, 1), "")
    return coder.finish()


def test_a_layer_that_inference_does_not_need(graph):
    net = nn.ModuleDict({"ip9": nn.Linear(4, 3)})
    rdoq_(net, graph, {"ip9": 0.25}, 0.0)
    assert torch.equal(levels_of(net.ip9.weight, 0.25) * 0.25, net.ip9.weight)


def test_a_step_too_small_for_a_container_is_refused(net, graph):
    with torch.no_grad():
        net.ip2.weight[0, 0] = -0.5
    said = "layer 'ip2': must be at least 1.54e-05 for weights of up to 0.5, got 1e-05"
    with pytest.raises(JobError, match=f"^rdoq.step: {said}$"):
        rdoq_(net, graph, {"ip2": 1e-5}, 0.0)
    rdoq_(net, graph, {"ip2": 1.54e-5}, 0.0)
    assert float(net.ip2.weight[0, 0].detach()) == pytest.approx(-0.5, abs=1.54e-5)
