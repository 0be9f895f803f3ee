import copy

import pytest
import torch
from torch import nn

from sigdca.training.speed import PLAIN, SpeedChoice, Way, compare, step_times


@pytest.fixture
def batch():
    return torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten(),
        nn.Linear(288, 2),
    )  # fmt: skip


def test_model_and_random_numbers_stay_as_they_are(model, batch):
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    times = step_times(model.eval(), *batch, [PLAIN, Way("bf16", channels_last=True)], 3)
    assert [len(found) for found in times] == [3, 3]
    assert all(second > 0 for found in times for second in found)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_each_way_computes_as_it_says(model, batch):
    seen = []
    model[0].register_forward_hook(
        lambda layer, inputs, output: seen.append(
            (output.dtype, inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
    )
    step_times(model, *batch, [PLAIN, Way("bf16"), Way(channels_last=True)], 1)
    ways = [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True)]
    assert seen == 2 * ways  # a step that does not count, then one that does


def test_a_compiled_model_is_compared_with_an_eager_one(model, batch, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    choice = compare(model, *batch, Way(compiled=True))
    assert choice.way == "compiled"
    assert len(compiled) == 1
    assert compiled[0] is not model


def test_no_round_begins_after_the_limit(model, batch):
    assert [len(found) for found in step_times(model, *batch, [PLAIN], 100, 0.0)] == [1]


class Large(nn.Module):
    """Fits into memory in bf16 alone."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 2)

    def forward(self, x):
        logits = self.fc(x.flatten(1))
        if logits.dtype == torch.float32:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")
        return logits


def test_what_plain_float32_has_no_memory_for_is_not_compared(batch):
    choice = compare(Large(), *batch, Way("bf16"))
    assert choice.ratio is None
    assert str(choice) == (
        "bf16: not compared with plain float32: CUDA out of memory. Tried to allocate 2 GiB."
    )


def test_it_is_said_in_one_line():
    assert str(Way()) == "plain float32"
    one = SpeedChoice(str(Way("fp16", True, True)), 2.345, 1)
    assert str(one) == (
        "fp16, channels last, compiled: 2.35x plain float32's images/s, one step each"
    )
