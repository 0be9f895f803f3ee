import errno

import pyarrow.fs as pafs
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sigdca.errors import StorageError
from sigdca.loop.events import EventFiles
from sigdca.storage import Record, Store


def record(stage, label="", iteration=1, **metrics):
    return Record(
        number=1,
        key="k",
        stage=stage,
        label=label,
        iteration=iteration,
        duration_s=1.0,
        metrics=metrics,
        seed=0,
    )


def epochs(count):
    for epoch in range(1, count + 1):
        accuracy = None if epoch == 1 else 10.0 * epoch  # the first is of an older version
        yield {
            "epoch": epoch,
            "loss": 1.0 / epoch,
            "images_per_s": 100.0,
            "sparsity": 0.5,
            "accuracy": accuracy,
        }


def curve(folder, tag):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.fixture(params=["local", "elsewhere"])
def store(request, tmp_path):
    local = pafs.LocalFileSystem()
    if request.param == "local":
        return Store(local, str(tmp_path / "run"))
    return Store(pafs.SubTreeFileSystem(str(tmp_path), local), "run")


def test_epochs_and_ends_become_curves(store, tmp_path):
    if not store.is_local:
        (tmp_path / "run/tensorboard/train-1").mkdir(parents=True)
        (tmp_path / "run/tensorboard/test-1").mkdir(parents=True)
    events = EventFiles(store)
    events.begin("train", "", 1, 3)
    for figures in epochs(3):
        events.epoch(figures)
    events.end(record("train", loss=0.3, sparsity=0.0), reused=False)
    events.begin("test", "", 1, 0)
    events.end(record("test", error=1.5, accuracy=None, logits_sha256="x"), reused=False)
    folder = tmp_path / "run/tensorboard"
    losses = curve(folder / "train-1", "epoch/loss")
    assert losses == [(1, 1), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert curve(folder / "train-1", "epoch/images_per_s") == [(1, 100), (2, 100), (3, 100)]
    assert curve(folder / "train-1", "epoch/accuracy") == [(2, 20), (3, 30)]
    assert curve(folder / "train-1", "train/sparsity") == [(1, 0)]
    assert curve(folder / "test-1", "test/error") == [(1, 1.5)]


def test_an_epoch_can_be_seen_before_its_stage_ends(store, tmp_path):
    folder = tmp_path / "run/tensorboard/retrain-prune-2"
    if not store.is_local:
        folder.mkdir(parents=True)
    events = EventFiles(store)
    events.begin("retrain", "prune", 2, 3)
    first, second = epochs(2)
    events.epoch(first)
    assert curve(folder, "epoch/loss") == [(1, 1)]
    events.epoch(second)
    assert curve(folder, "epoch/loss") == [(1, 1), (2, 0.5)]
    events.close()


def test_a_training_outlives_an_epoch_whose_curve_cannot_be_written(tmp_path, monkeypatch):
    def fail(store, name, content):
        raise StorageError(f"{name}: cannot write: SlowDown")

    local = pafs.LocalFileSystem()
    folder = tmp_path / "run/tensorboard/train-1"
    events = EventFiles(Store(pafs.SubTreeFileSystem(str(tmp_path), local), "run"))
    events.begin("train", "", 1, 2)
    first, second = epochs(2)
    with monkeypatch.context() as away:
        away.setattr(Store, "write", fail)
        events.epoch(first)
        assert not folder.exists()
    events.epoch(second)
    assert curve(folder, "epoch/loss") == [(1, 1), (2, 0.5)], "the next epoch makes up for it"
    monkeypatch.setattr(Store, "write", fail)
    with pytest.raises(StorageError):
        events.end(record("train", loss=0.3), reused=False)
    events.close()


def test_steps_are_numbered_over_the_stage(store, tmp_path):
    if not store.is_local:
        (tmp_path / "run/tensorboard/train-1").mkdir(parents=True)
    events = EventFiles(store)
    events.begin("train", "", 1, 3)
    step = {"num_steps": 10, "loss": 0.5, "images_per_s": 20.0}
    events.step(step | {"epoch": 1, "step": 7})
    events.step(step | {"epoch": 3, "step": 2})
    events.end(record("train", loss=0.3), reused=False)
    folder = tmp_path / "run/tensorboard/train-1"
    assert curve(folder, "step/images_per_s") == [(7, 20), (22, 20)]


def test_what_the_ledger_knew_is_not_written_again(tmp_path):
    events = EventFiles(Store(pafs.LocalFileSystem(), str(tmp_path)))
    events.end(record("test", error=1.5), reused=True)
    assert not (tmp_path / "tensorboard").exists()


def test_a_stage_without_figures_leaves_nothing(tmp_path):
    events = EventFiles(Store(pafs.LocalFileSystem(), str(tmp_path)))
    events.begin("package", "", 1, 0)
    events.end(record("package", meets_budget=True), reused=False)
    assert not (tmp_path / "tensorboard").exists()


def test_a_full_disk_ends_a_stage_with_one_line_and_hides_no_other_fault(tmp_path, monkeypatch):
    events = EventFiles(Store(pafs.LocalFileSystem(), str(tmp_path)))
    events.begin("train", "", 1, 2)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("add_scalar", "add_text", "flush", "close"):
        monkeypatch.setattr(events._writer, name, full)
    figures = {"epoch": 1, "step": 1, "num_steps": 2, "loss": 1.0, "images_per_s": 9.0}
    events.step(figures)
    events.note("a line")
    events.epoch({"epoch": 1, "loss": 1.0})
    with pytest.raises(StorageError, match=r"tensorboard.*: No space left on device$"):
        events.end(record("train", error=1.0), False)
    events.close()
