"""LARS, against its paper's algorithm 1 written out in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from sigdca.training.lars import Lars


def expected(weight, gradients, rate, momentum, decay, trust):
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        local = trust * np.linalg.norm(weight)
        local /= np.linalg.norm(gradient) + decay * np.linalg.norm(weight)
        velocity = momentum * velocity + rate * local * (gradient + decay * weight)
        weight = weight - velocity
    return weight


@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_it_is_the_papers_algorithm(decay):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 2, 2))
    gradients = rng.standard_normal((5, 4, 3, 2, 2))
    parameter = nn.Parameter(torch.from_numpy(weight.copy()))
    optimizer = Lars([parameter], lr=3.0, momentum=0.9, weight_decay=decay, trust=0.02)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    wanted = expected(weight, gradients, 3.0, 0.9, decay, 0.02)
    assert parameter.detach().numpy() == pytest.approx(wanted, rel=1e-12)


def test_biases_are_trained_by_plain_sgd_without_decay():
    bias, other = (nn.Parameter(torch.arange(3.0)) for _ in range(2))
    lars = Lars([bias], lr=0.1, momentum=0.9, weight_decay=0.5)
    sgd = torch.optim.SGD([other], lr=0.1, momentum=0.9)
    for _ in range(4):
        bias.grad, other.grad = torch.ones(3), torch.ones(3)
        lars.step()
        sgd.step()
    assert torch.allclose(bias, other)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_layer_of_zeros_or_without_a_slope_is_no_division_by_zero(value):
    parameter = nn.Parameter(torch.full((2, 2), value))
    optimizer = Lars([parameter], lr=0.1)
    parameter.grad = torch.full((2, 2), 1.0 - value)
    optimizer.step()
    assert torch.isfinite(parameter).all()
