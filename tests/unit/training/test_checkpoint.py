import pickle

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
    with pytest.raises(StorageError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path)


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/should-not-exist-sigdca", "w"))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(StorageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
