import hashlib
import io

import pytest
import torch

from sigdca.errors import StorageError
from sigdca.training import Checkpoint, load_checkpoint, save_checkpoint


def checkpoint():
    return Checkpoint(1, {"w": torch.ones(3)}, {"state": {}, "param_groups": []}, [{"epoch": 1}])


def test_it_reads_back(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    found = load_checkpoint(tmp_path)
    assert found.epoch == 1
    assert torch.equal(found.model["w"], torch.ones(3))


def test_a_truncated_file_is_named(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"checkpoint\.pt: damaged"):
        load_checkpoint(tmp_path)


def test_a_flipped_bit_is_found(tmp_path):
    save_checkpoint(tmp_path, checkpoint())
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80?") + 2] ^= 1  # a weight of 1.0
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"checkpoint\.pt: damaged"):
        load_checkpoint(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"checkpoint\.pt: not a checkpoint"):
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
    (tmp_path / "checkpoint.pt").write_bytes(content)
    (tmp_path / "checkpoint.sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(StorageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    assert not ran.exists()
    torch.load(io.BytesIO(content), weights_only=False).get("weights").close()
    assert ran.exists(), "it would have run"
