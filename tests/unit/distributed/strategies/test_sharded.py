"""What strategies whose processes hold parts have in common, in one process."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from sigdca.distributed.strategies import STRATEGIES
from sigdca.training import Place, Setting


@pytest.fixture
def fsdp(tmp_path):
    """A small network, spread over the one process that there is."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    setting = Setting(Place(), torch.zeros(1, 1, 8, 8), 4)
    yield STRATEGIES["fsdp"](net, lambda parameters: torch.optim.SGD(parameters, 0.1), setting)
    dist.destroy_process_group()


def test_parts_are_sent_where_they_lie(fsdp, monkeypatch):
    """As after training on GPUs: nccl sends no tensor of the CPU, where the whole network is."""
    sent = []
    monkeypatch.setattr(dist, "broadcast", lambda tensor, rank: sent.append((tensor, rank)))
    part = fsdp.module[1].weight
    fsdp.gather_(part, torch.empty(4, 64, device="meta"))
    ((tensor, rank),) = sent
    assert (tensor.device.type, rank) == ("cpu", 0)
    assert torch.equal(tensor, part.to_local())


def test_a_whole_tensor_beside_its_parts_needs_no_copy(fsdp, monkeypatch):
    sent = []
    monkeypatch.setattr(dist, "broadcast", lambda tensor, _: sent.append(tensor.data_ptr()))
    part, whole = fsdp.module[1].weight, torch.zeros(4, 64)
    fsdp.gather_(part, whole)
    assert sent == [whole.data_ptr()]
    assert torch.equal(whole, part.to_local())
