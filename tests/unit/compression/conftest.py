from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from sigdca.codec import Graph
from sigdca.models import trace


class SmallNet(nn.Module):
    """A convolution and two fully connected layers on 1x6x6 images, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.ip1 = nn.Linear(64, 20)
        self.ip2 = nn.Linear(20, 3)

    def forward(self, x):
        x = functional.relu(self.conv1(x)).flatten(1)
        return self.ip2(functional.relu(self.ip1(x)))


@pytest.fixture
def make_net() -> Callable[[], nn.Module]:
    """Makes the same small network each time."""

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return SmallNet()

    return make


@pytest.fixture
def net(make_net) -> nn.Module:
    return make_net()


@pytest.fixture
def graph(net) -> Graph:
    """What a container has of the small network besides its weights."""
    return trace(net, (1, 6, 6), 1.0)


@pytest.fixture
def retrain() -> Callable[..., None]:
    """Runs epochs of a hook as a training loop does, each on images that depend on its number."""

    def run(model, hook, optimizer, epochs, num_epochs, steps=4) -> None:
        for epoch in epochs:
            hook.before_epoch(model, epoch, num_epochs)
            generator = torch.Generator().manual_seed(epoch)
            for _ in range(steps):
                images = torch.randn((8, 1, 6, 6), generator=generator)
                classes = torch.randint(0, 3, (8,), generator=generator)
                optimizer.zero_grad()
                functional.cross_entropy(model(images), classes).backward()
                hook.after_backward(model)
                optimizer.step()
                hook.after_step(model)
            hook.after_last_step(model)
            hook.after_epoch(model, epoch, num_epochs)

    return run


@pytest.fixture(params=["sgd", "adam"])
def make_optimizer(request):
    """Optimizers that would move a weight of no gradient: momentum and weight decay."""

    def make(model: nn.Module, learning_rate: float = 0.02) -> torch.optim.Optimizer:
        if request.param == "adam":
            return torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=1e-3)
        return torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=1e-3
        )

    return make


@pytest.fixture
def resumed_equals_whole(make_net, retrain, make_optimizer):
    """Checks that a new hook may take over at every epoch without changing a bit."""

    def check(prepare_, make_hook, num_epochs=4) -> None:
        def trained(stops):
            model = make_net()
            prepare_(model)
            optimizer = make_optimizer(model)
            for begin, end in zip([0, *stops], [*stops, num_epochs], strict=True):
                retrain(model, make_hook(), optimizer, range(begin, end), num_epochs)
            return model.state_dict()

        whole = trained([])
        for stops in ([1], [2], [3], [1, 2, 3]):
            parts = trained(stops)
            assert all(torch.equal(parts[name], whole[name]) for name in whole), stops

    return check
