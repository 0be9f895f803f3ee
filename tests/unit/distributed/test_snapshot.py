"""A stage goes on whatever a kill has left of Ray Train's record of checkpoints."""

import json

import pytest
from ray.train import CheckpointConfig
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.storage import StorageContext

from sigdca.distributed import snapshot
from sigdca.distributed.snapshot import FILE_NAME, _record, mend_record
from sigdca.errors import StorageError
from sigdca.storage import open_store

NAMES = ["checkpoint_2026-11-27_02-00-00.000001", "checkpoint_2026-11-27_02-00-09.000000"]


@pytest.fixture
def store(tmp_path):
    for name in NAMES:
        (tmp_path / "key" / name).mkdir(parents=True)
    (tmp_path / "key" / ".validate_storage_marker").touch()
    return open_store(str(tmp_path))


def last_of(store):
    """The last checkpoint, as Ray finds it when a stage begins."""
    where = StorageContext(store.root, "key", store.filesystem, read_only=True)
    last = CheckpointManager(CheckpointConfig(num_to_keep=2), where).latest_checkpoint_result
    return None if last is None else last.checkpoint.path.rpartition("/")[2]


def without_last():
    """As if the last one was not among those that were kept."""
    record = json.loads(_record(NAMES))
    record["checkpoint_results"].pop()
    record["checkpoint_report_indices"].pop()
    return json.dumps(record)


@pytest.mark.parametrize(
    "left",
    [
        "",
        _record(NAMES)[:100],
        "[]",
        "5",
        without_last(),
        _record(["checkpoint_2026-11-27_01-00-00.000000", *NAMES]),
    ],
)
def test_a_spoilt_record_is_made_anew_from_the_checkpoints(store, left):
    store.child("key").write(FILE_NAME, left.encode())
    assert mend_record(store, "key") == (
        "Ray Train's record of checkpoints was spoilt; made anew, with the 2 that are there"
    )
    assert last_of(store) == NAMES[-1]
    assert mend_record(store, "key") is None


def test_bytes_that_are_no_text_are_a_spoilt_record(store):
    store.child("key").write(FILE_NAME, b"\xff\x00")
    assert mend_record(store, "key") is not None
    assert last_of(store) == NAMES[-1]


def test_without_any_checkpoint_a_stage_begins_anew(store):
    store.child("other").write(FILE_NAME, b"")
    assert "with the 0 that are there" in mend_record(store, "other")
    assert json.loads(store.child("other").read(FILE_NAME))["latest_checkpoint_result"] is None


def test_a_whole_record_stays_and_none_is_none(store):
    assert mend_record(store, "key") is None
    assert not store.child("key").exists(FILE_NAME)
    whole = _record(NAMES[:1]).encode()
    store.child("key").write(FILE_NAME, whole)
    assert mend_record(store, "key") is None
    assert store.child("key").read(FILE_NAME) == whole
    assert last_of(store) == NAMES[0]


def test_a_place_that_cannot_be_read_just_now_is_a_fault_and_no_spoilt_record(store, monkeypatch):
    mend_record(store, "key")
    store.child("key").write(FILE_NAME, _record(NAMES).encode())

    def unreadable(*_):
        raise OSError("connection reset")

    monkeypatch.setattr(snapshot, "CheckpointManager", unreadable)
    with pytest.raises(StorageError, match=r"key: cannot be read: connection reset$"):
        mend_record(store, "key")
    assert store.child("key").read(FILE_NAME) == _record(NAMES).encode()
