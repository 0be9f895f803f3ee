import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sigdca.errors import StorageError
from sigdca.training import Checkpoint, Whole, load_checkpoint, save_checkpoint
from sigdca.training.checkpoint import _DTYPES

WEIGHTS = {
    "conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "conv.bias": torch.ones(3),
    "norm.num_batches_tracked": torch.tensor(7),
}
MOMENTS = {0: {"exp_avg": torch.full((2, 3, 2, 2), 0.5), "step": torch.tensor(3.0)}, 12: {}}
FIGURES = [{"epoch": 1, "loss": 0.1 + 0.2, "sparsity": float("nan")}]


def whole(tensor):
    return Whole(tuple(tensor.shape), tensor.dtype, iter([tensor]))


def checkpoint(weights=WEIGHTS):
    return Checkpoint(
        1,
        {name: whole(tensor) for name, tensor in weights.items()},
        {
            number: {name: whole(tensor) for name, tensor in state.items()}
            for number, state in MOMENTS.items()
        },
        FIGURES,
        {"scale": 65536.0},
    )


def test_it_reads_back(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    found = load_checkpoint(tmp_path)
    assert (found.epoch, found.scaler) == (1, {"scale": 65536.0})
    assert found.figures[0]["loss"] == FIGURES[0]["loss"]
    assert np.isnan(found.figures[0]["sparsity"])
    assert found.model.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert found.model[name].shape == tuple(tensor.shape)
        assert torch.equal(found.model[name][...], tensor)
    assert torch.equal(found.model["conv.weight"][1:2], WEIGHTS["conv.weight"][1:])
    assert found.optimizer.keys() == {0}
    for name, tensor in MOMENTS[0].items():
        assert torch.equal(found.optimizer[0][name][...], tensor)


def test_others_read_it_as_safetensors(tmp_path):
    kinds = {str(kind): torch.ones(3, 2).to(kind) for kind in _DTYPES}
    save_checkpoint(tmp_path, checkpoint(kinds))
    found = load_file(tmp_path / "checkpoint.safetensors")
    for name, tensor in kinds.items():
        assert found[f"model.{name}"].dtype == tensor.dtype
        assert torch.equal(found[f"model.{name}"], tensor)


def test_it_can_be_read_after_it_was_deleted(tmp_path):
    """Ray Train fetches it into a folder that is there for as long as it is opened."""
    save_checkpoint(tmp_path, checkpoint())
    found = load_checkpoint(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.unlink()
    assert torch.equal(found.model["conv.bias"][...], torch.ones(3))
    assert str(path) in Path("/proc/self/maps").read_text()
    found.close()
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_it_is_never_whole_in_memory(tmp_path):
    piece, count = torch.ones(2**18), 64

    def pieces():
        for number in range(count):
            yield piece.mul_(number)

    large = Checkpoint(1, {"w": Whole((count, 2**18), torch.float32, pieces())}, {}, [])
    tracemalloc.start()
    save_checkpoint(tmp_path, large)
    found = load_checkpoint(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "checkpoint.safetensors").stat().st_size > count * 2**20
    assert most < 2**24
    assert found.model["w"].shape == (count, 2**18)


def test_pieces_are_taken_to_the_end_though_nothing_can_be_written(tmp_path):
    """The other processes wait for this one's part in them."""
    taken = []

    def pieces():
        for number in range(3):
            taken.append(number)
            yield torch.ones(1)

    path = tmp_path / "file"
    path.write_text("")
    for folder in (path, None):
        taken.clear()
        state = Checkpoint(1, {"w": Whole((3,), torch.float32, pieces())}, {}, [])
        if folder is None:
            save_checkpoint(folder, state)
        else:
            with pytest.raises(StorageError, match="cannot write"):
                save_checkpoint(folder, state)
        assert taken == [0, 1, 2]


def test_a_process_that_is_lost_on_the_way_leaves_nothing(tmp_path):
    def pieces():
        yield torch.ones(1)
        raise RuntimeError("connection closed by peer")

    lost = Checkpoint(1, {"w": Whole((3,), torch.float32, pieces())}, {}, [])
    with pytest.raises(RuntimeError, match="closed by peer"):
        save_checkpoint(tmp_path, lost)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_named(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"checkpoint\.safetensors: damaged"):
        load_checkpoint(tmp_path)


def test_a_flipped_bit_is_found(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80?") + 2] ^= 1  # a weight of 1.0
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"checkpoint\.safetensors: damaged"):
        load_checkpoint(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"checkpoint\.safetensors: not a checkpoint: No such"):
        load_checkpoint(tmp_path)


def sign(folder):
    content = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.sha256").write_text(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
    ],
)
def test_other_files_are_not_checkpoints_whatever_their_hash(tmp_path, content):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    sign(tmp_path)
    with pytest.raises(StorageError, match="not a checkpoint") as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("model.w", None),
        ("model.w", {"checkpoint": "no JSON"}),
        ("model.w", {"checkpoint": '{"epoch": 1}'}),
        ("optimizer.first.w", {"checkpoint": '{"epoch": 1, "figures": [], "scaler": {}}'}),
    ],
)
def test_nor_are_other_tensors(tmp_path, name, metadata):
    save_file({name: torch.ones(3)}, tmp_path / "checkpoint.safetensors", metadata)
    sign(tmp_path)
    with pytest.raises(StorageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    stream = io.BytesIO()
    torch.save({"weights": Evil(str(ran))}, stream)  # a file that torch itself would take
    content = stream.getvalue()
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    sign(tmp_path)
    with pytest.raises(StorageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    assert not ran.exists()
    torch.load(io.BytesIO(content), weights_only=False).get("weights").close()
    assert ran.exists(), "it would have run"


def test_one_of_an_earlier_version_says_what_to_do(tmp_path):
    torch.save({"epoch": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(StorageError, match=r"checkpoint\.pt: a checkpoint of an earlier version"):
        load_checkpoint(tmp_path)
