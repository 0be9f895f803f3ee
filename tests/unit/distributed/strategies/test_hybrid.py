"""What `hybrid` refuses before anything starts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sigdca.distributed.strategies import STRATEGIES
from sigdca.errors import JobError
from sigdca.models import build


class Net(nn.Module):
    """Draws random numbers in its two places as it is told."""

    def __init__(self, before, between):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.ip1 = nn.Linear(144, 8)
        self.ip2 = nn.Linear(8, 3)
        self.drop = nn.Dropout()
        self.before, self.between = before, between

    def forward(self, x):
        x = self.before(torch.relu(self.norm(self.conv(x)))).flatten(1)
        return self.ip2(self.between(torch.relu(self.ip1(x)), self))


def by_function(x, net):
    return F.dropout(x, 0.5, net.training)


def in_a_branch(x, net):
    return x * (torch.rand_like(x) > 0.5) if net.training else x


def by_module(x, net):
    return net.drop(x)


class Called(nn.Module):
    """A function in a place where a module must be; the tracer looks into it."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def check(net):
    STRATEGIES["hybrid"].check(net, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("function", [by_function, in_a_branch])
def test_random_numbers_drawn_by_a_function_between_fc_layers_are_refused(function):
    with pytest.raises(JobError, match="after 'ip1' the network draws random") as caught:
        check(Net(nn.Identity(), Called(function)))
    assert "\n" not in str(caught.value)


def test_a_dropout_module_there_and_a_function_before_are_not():
    net = Net(Called(F.dropout), Called(by_module))
    before = torch.get_rng_state()
    check(net)
    assert torch.equal(torch.get_rng_state(), before)
    assert net.norm.num_batches_tracked == 0


@pytest.mark.parametrize("name", ["lenet-5", "alexnet-cifar", "vgg-16-cifar"])
def test_our_own_networks_pass_without_weights(name):
    shape = (1, 28, 28) if name == "lenet-5" else (3, 32, 32)
    with torch.device("meta"):
        STRATEGIES["hybrid"].check(build(name), torch.zeros(1, *shape))
