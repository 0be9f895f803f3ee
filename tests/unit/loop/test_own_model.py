"""A user's own network is refused where its graph, or training, would go wrong later."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sigdca.errors import JobError
from sigdca.loop.own_model import check_model
from sigdca.models import trace

SHAPE = (3, 6, 5)


class Net(nn.Module):
    """Two convolutions, a batch norm and an FC layer, and a forward of the test's own."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.fc = nn.BatchNorm2d(4), nn.Linear(120, 5)

    def forward(self, x):
        return self.way(self, x)


def check(way, num_classes=5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net(way)
    check_model(model, trace(model, SHAPE, 1 / 256), num_classes)


def plain(self, x):
    x = functional.dropout(self.norm(self.a(x)), 0.5, self.training)
    return self.fc((functional.relu(x, inplace=True) + self.b(x)).flatten(1))


def test_what_can_be_trained_passes_and_draws_nothing():
    before = torch.random.get_rng_state()
    check(plain)
    check(plain, num_classes=4)  # an output too many harms nobody
    assert torch.equal(torch.random.get_rng_state(), before)


def added_to_an_alias(self, x):
    x = self.a(x)
    kept = x
    x += self.b(x)
    return self.fc((x + kept).flatten(1))


def changed_through_a_view(self, x):
    x = self.a(x)
    x.flatten(1).relu_()
    return self.fc(x.flatten(1))


def always_dropped(self, x):
    return self.fc(functional.dropout(self.a(x)).flatten(1))


@pytest.mark.parametrize("way", [added_to_an_alias, changed_through_a_view, always_dropped])
def test_a_graph_that_is_not_the_model(way):
    with pytest.raises(JobError, match=r"^model: its traced graph gives other logits .*in-place"):
        check(way)


def test_a_hook():
    model = nn.Sequential(nn.Flatten(), nn.Linear(90, 5))
    graph = trace(model, SHAPE, 1 / 256)
    check_model(model, graph, 5)
    model[1].register_forward_hook(lambda module, args, output: 2 * output)
    with pytest.raises(JobError, match="a hook"):
        check_model(model, graph, 5)


def with_a_second_head(self, x):
    logits = self.fc(self.a(x).flatten(1))
    return (logits, logits) if self.training else logits


def fails_in_training(self, x):
    x = self.a(x)
    return self.fc(x.flatten(1) if not self.training else x)


@pytest.mark.parametrize(
    ("way", "num_classes", "message"),
    [
        (plain, 6, r"gives 5 logits, but the data has 6 classes; a constructor with a parameter"),
        (lambda self, x: self.a(x), 4, r"gives \[4, 6, 5\] for an image, must give a logit for"),
        (with_a_second_head, 5, r"must give one tensor \[2, 5\] in training, got tuple"),
        (fails_in_training, 5, "its forward fails in training: RuntimeError: mat1"),
    ],
)
def test_what_cannot_be_trained(way, num_classes, message):
    with pytest.raises(JobError, match=f"^model: {message}") as raised:
        check(way, num_classes)
    assert "\n" not in str(raised.value)
