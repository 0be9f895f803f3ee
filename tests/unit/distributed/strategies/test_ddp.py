"""What `ddp` must know of a network before it starts."""

import pytest
import torch
from torch import nn

from sigdca.distributed.strategies.ddp import reads_all


class Net(nn.Module):
    """A batch norm, dropout, and a layer that may be left out."""

    def __init__(self, spare):
        super().__init__()
        self.fc = nn.Linear(64, 8)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout()
        self.other = nn.Linear(8, 8)
        self.spare = spare

    def forward(self, x):
        x = self.drop(self.norm(self.fc(x.flatten(1))))
        return x if self.spare else self.other(x)


@pytest.mark.parametrize("spare", [False, True])
def test_a_layer_that_nothing_reads_is_found(spare):
    net = Net(spare).train()
    drawn = torch.get_rng_state()
    assert reads_all(net, torch.zeros(1, 1, 8, 8)) is not spare
    assert torch.equal(torch.get_rng_state(), drawn)
    assert net.norm.training
    assert net.norm.num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in net.parameters())


def test_one_that_is_not_trained_is_not_missed():
    net = Net(spare=True)
    net.other.requires_grad_(False)
    assert reads_all(net, torch.zeros(1, 1, 8, 8))
