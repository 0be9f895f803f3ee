"""What workers go on from: each by its own copy, all from one epoch."""

from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest

from sigdca.distributed import training
from sigdca.distributed.training import _agreed, _read
from sigdca.errors import StorageError


def test_a_worker_that_goes_on_from_another_epoch_than_worker_0_has_all_start_anew(monkeypatch):
    monkeypatch.setattr(training, "broadcast_from_rank_zero", lambda epoch: 3)
    third = SimpleNamespace(epoch=3)
    assert _agreed(1, third) is third
    told = "worker 1 could read the one of epoch 2, worker 0 that of epoch 3"
    with pytest.raises(StorageError, match=told):
        _agreed(1, SimpleNamespace(epoch=2))
    with pytest.raises(StorageError, match="worker 2 could read the one of epoch 0"):
        _agreed(2, None)
    monkeypatch.setattr(training, "broadcast_from_rank_zero", lambda epoch: epoch)
    assert _agreed(0, None) is None


def test_what_lies_elsewhere_is_copied_for_each_worker_alone(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(training, "load_checkpoint", lambda folder: seen.append(str(folder)))
    local = pafs.LocalFileSystem()
    _read(SimpleNamespace(filesystem=local, path="/runs/checkpoint"))
    elsewhere = pafs.SubTreeFileSystem(str(tmp_path), local)
    far = SimpleNamespace(filesystem=elsewhere, to_directory=lambda folder: folder)
    _read(far)
    _read(far)
    assert seen[0] == "/runs/checkpoint"
    assert len(set(seen)) == 3, "never one folder for two"
