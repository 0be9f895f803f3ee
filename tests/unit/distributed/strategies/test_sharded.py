"""What strategies whose processes hold parts have in common, in one process."""

import importlib.util

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sigdca.distributed.strategies import STRATEGIES
from sigdca.distributed.strategies.deepspeed import flat
from sigdca.errors import JobError
from sigdca.training import Checkpoint, Place, Setting, load_checkpoint, save_checkpoint


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


def test_a_checkpoint_has_each_tensor_in_pieces_and_is_read_in_rows(fsdp, tmp_path, monkeypatch):
    monkeypatch.setattr("sigdca.training.tensors.PIECE_BYTES", 300)
    monkeypatch.setattr("sigdca.distributed.strategies.sharded.PIECE_BYTES", 300)
    weight = fsdp.module[1].weight.to_local().detach()
    kept = weight.clone()
    sizes = [piece.numel() for piece in fsdp.state()[0]["1.weight"].pieces]
    assert sizes == [75, 75, 75, 31]
    save_checkpoint(tmp_path, Checkpoint(1, *fsdp.state(), []))
    weight.zero_()
    found = load_checkpoint(tmp_path)
    read = []

    class Watched:
        shape = found.model["1.weight"].shape

        def __getitem__(self, index):
            read.append(index)
            return found.model["1.weight"][index]

    fsdp.load({**found.model, "1.weight": Watched()}, found.optimizer)
    assert read == [slice(row, row + 1) for row in range(4)]  # of 256 bytes each
    assert torch.equal(weight, kept)


@pytest.mark.parametrize("shape", [(7, 3), (21,), (7, 1, 3), ()], ids=str)
@pytest.mark.parametrize("size", [5, 11, 21])
def test_zero_reads_the_rows_that_a_process_has_a_part_of(tmp_path, shape, size):
    whole = torch.randn(shape)
    values, width = whole.reshape(-1), whole[0].numel() if shape else 1
    save_file({"whole": whole}, tmp_path / "file")
    with safe_open(tmp_path / "file", "pt") as file:
        for start in range(0, 5 * size, size):  # the last ones have nothing
            read = []

            class Watched:
                shape = whole.shape

                def __getitem__(self, index, read=read):
                    read.append(file.get_slice("whole")[index])
                    return read[0]

            found = flat(Watched(), start, size)
            expected = values[start : start + size]
            assert torch.equal(found, torch.cat([expected, torch.zeros(size - len(expected))]))
            (rows,) = read
            assert rows.numel() <= len(expected) + 2 * (width - 1) or not shape


class Tied(nn.Module):
    """Two layers with one weight, or without."""

    def __init__(self, tied):
        super().__init__()
        self.ip1, self.ip2, self.ip3 = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        if tied:
            self.ip3.weight = self.ip2.weight

    def forward(self, x):
        return self.ip3(torch.relu(self.ip2(torch.relu(self.ip1(x.flatten(1))))))


def check(strategy, tied):
    if strategy == "horovod" and importlib.util.find_spec("horovod") is None:
        pytest.skip("Horovod is not installed: run `make horovod`")
    with torch.device("meta"):
        STRATEGIES[strategy].check(Tied(tied), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("strategy", ["deepspeed", "fsdp", "hybrid"])
def test_a_weight_that_two_layers_share_cannot_be_spread(strategy):
    check(strategy, tied=False)
    said = r"'ip2\.weight' and 'ip3\.weight' are one weight, and [^\n]*: use ddp or horovod$"
    with pytest.raises(JobError, match=said):
        check(strategy, tied=True)


@pytest.mark.parametrize("strategy", ["ddp", "horovod"])
def test_where_all_weights_are_whole_layers_may_share_them(strategy):
    check(strategy, tied=True)
