"""The board's store: bounded, whole after a kill, and its samples keep their labels."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from sigdca.edge import acquired
from sigdca.edge.acquired import (
    DEFAULT_BYTES,
    LEAST_BYTES,
    About,
    Acquired,
    make_store,
    most_bytes_of,
)
from sigdca.edge.samples import dump_samples, ids_of, joined
from sigdca.errors import FormatError, JobError, StorageError
from sigdca.storage import Store
from tests.samples import samples_of

ABOUT = About("board-1", (1, 4, 4), 3, LEAST_BYTES, False)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "new", ABOUT)


def all_of(store):
    return joined([part for _, part in Acquired(store.root).read()])


def test_samples_come_back_in_their_order_and_each_once(store):
    assert store.append(samples_of([1, 2, 2])) == 2
    assert store.append(samples_of([2, 3, 1])) == 1
    assert Acquired(store.root).append(samples_of([3, 4])) == 1
    assert all_of(store).times_s.tolist() == [1, 2, 3, 4]
    counts = store.counts()
    assert (counts.samples, counts.labelled) == (4, 0)


def test_small_parts_are_joined_as_in_a_binary_counter(store):
    for number in range(32):
        store.append(samples_of(range(10 * number, 10 * number + 10)))
    assert len(store.parts()) <= 7
    assert len(all_of(store)) == 320


def test_labels_are_kept_and_given_to_the_train_leg(store):
    store.append(samples_of(range(6)))
    images = samples_of(range(6)).images
    ids = ids_of(images)
    assert store.label({ids[4]: 2, ids[1]: 0, b"x" * 16: 1}) == 2
    store.append(samples_of(range(6, 9)))
    got, labels = Acquired(store.root).labelled()
    assert (got == images[[1, 4]]).all()
    assert labels.tolist() == [0, 2]
    assert (got.dtype, labels.dtype) == (np.uint8, np.int64)
    with pytest.raises(FormatError, match="label: must be 0 to 2, got 3"):
        store.label({ids[0]: 3})


def test_a_store_without_labels_gives_none(store):
    images, labels = store.labelled()
    assert (images.shape, labels.shape) == ((0, 1, 4, 4), (0,))


def big(numbers, **more):
    """Noise of 40 kB each, which nothing makes smaller."""
    return samples_of(numbers, shape=(1, 200, 200), **more)


def test_it_never_takes_more_than_it_may_and_labels_stay_longest(tmp_path, monkeypatch):
    monkeypatch.setattr(acquired, "PART_BYTES", 200_000)
    store = make_store(tmp_path / "new", replace(ABOUT, shape=(1, 200, 200)))
    store.append(big(range(4), labels={1: 2}))
    for start in range(4, 60, 4):
        store.append(big(range(start, start + 4)))
        assert store.counts().bytes <= LEAST_BYTES
    kept = all_of(store).times_s.tolist()
    assert kept == [1, *range(61 - len(kept), 60)], "the label, and the newest"
    with pytest.raises(StorageError, match="bytes of samples at once, limit 524288"):
        store.append(big(range(200, 240)))


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A small store of large samples, whose files never take more than they may at any moment."""
    store = make_store(tmp_path / "new", replace(ABOUT, shape=(1, 200, 200)))
    write = Store.write

    def checked(self, name, content):
        there = sum(path.stat().st_size for path in (store.root / "parts").glob("*"))
        assert there + len(content) <= LEAST_BYTES
        write(self, name, content)

    monkeypatch.setattr(Store, "write", checked)
    return store


@pytest.mark.parametrize("size", [1, 4, 6])
def test_a_small_store_goes_on_and_is_never_larger_while_it_writes(watched, size):
    for start in range(0, 20 * size, size):
        assert watched.append(big(range(start, start + size))) == size
    kept = all_of(watched).times_s.tolist()
    assert kept == list(range(20 * size - len(kept), 20 * size))
    assert watched.counts().bytes > LEAST_BYTES / 2
    assert len(watched.parts()) < 12


def test_samples_without_labels_leave_before_labels_wherever_they_lie(watched):
    for start in range(0, 56, 4):
        watched.append(big(range(start, start + 4), labels={start + 1: 2}))
    watched.append(big(range(56, 60)))
    kept = all_of(watched)
    assert kept.times_s[kept.is_labelled].tolist() == list(range(1, 56, 4))
    assert kept.times_s[-4:].tolist() == [56, 57, 58, 59]
    watched.label(dict.fromkeys(ids_of(kept.images), 1))
    watched.append(big(range(60, 64), labels={60: 0, 61: 0, 62: 0, 63: 0}))
    left = all_of(watched).times_s.tolist()
    assert left == [*kept.times_s, 60, 61, 62, 63][-len(left) :], "then the oldest labels"


def test_labels_are_there_whatever_keeps_a_part_from_being_written_anew(watched, monkeypatch):
    for start in range(0, 20, 4):
        watched.append(big(range(start, start + 4), labels={start: 2}))

    def full(self, name, content):
        raise StorageError(f"{name}: cannot write: No space left on device")

    before = all_of(watched).times_s.tolist()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(StorageError, match="No space left"):
            watched.append(big(range(20, 26)))
    assert all_of(watched).times_s.tolist() == before
    assert watched.append(big(range(20, 26))) == 6
    assert {0, 4, 8, 12, 16} <= set(all_of(watched).times_s)


def test_a_store_is_asked_what_it_may_have(tmp_path, store):
    assert most_bytes_of(store.root) == LEAST_BYTES
    assert most_bytes_of(tmp_path / "none") == DEFAULT_BYTES


def test_a_private_store_stays_private(tmp_path, store):
    assert not store.about.private
    assert make_store(store.root, replace(ABOUT, private=True)).about.private
    again = make_store(store.root, replace(ABOUT, board="another"))
    assert (again.about.private, again.about.board) == (True, "board-1")


def test_another_models_images_are_refused(store):
    with pytest.raises(JobError, match=r"holds images \(1, 4, 4\) of 3 classes"):
        make_store(store.root, replace(ABOUT, num_classes=4))
    with pytest.raises(FormatError, match="most_bytes must be at least"):
        replace(ABOUT, most_bytes=1000)
    with pytest.raises(StorageError, match="`sigdca edge acquire` makes a store"):
        Acquired(store.root.parent)
    (store.root / "store.json").write_text('{"board": 1}')
    with pytest.raises(FormatError, match="must have just"):
        Acquired(store.root)


def test_a_damaged_part_is_left_out(store, capsys):
    store.append(samples_of(range(3)))
    (store.root / "parts" / "00000002-00000002.parquet").write_bytes(b"PAR1")
    assert len(all_of(store)) == 3
    assert "00000002-00000002.parquet: not a file of samples" in capsys.readouterr().err
    assert store.counts().samples == 3


def test_what_a_killed_process_left_does_not_count(store):
    store.append(samples_of(range(4)))
    parts = store.root / "parts"
    (parts / ".00000002-00000002.parquet.ab.tmp").write_bytes(b"half")
    whole = dump_samples(samples_of(range(8)))
    (parts / "00000001-00000002.parquet").write_bytes(whole)  # joined, the first not yet removed
    assert len(all_of(store)) == 8
    Acquired(store.root).append(samples_of([9]))
    assert not [name for name in os.listdir(parts) if "tmp" in name]
    assert sorted(all_of(store).times_s) == [*range(8), 9]


CODE = """
import sys
from pathlib import Path
from sigdca.edge.acquired import Acquired
from tests.samples import samples_of
store = Acquired(Path(sys.argv[1]))
for number in range(10**6):
    store.append(samples_of(range(4 * number, 4 * number + 4)))
    print(number, flush=True)
"""


def test_it_is_whole_after_kill_9_at_any_moment(store):
    last = -1
    for wait in (4, 9):
        command = [sys.executable, "-c", CODE, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for line in writer.stdout:
                last = max(last, int(line))
                if int(line) >= wait:
                    writer.send_signal(signal.SIGKILL)
                    break
            rest = [int(line) for line in writer.stdout.read().split()]
        last = max([last, *rest])
        times = all_of(store).times_s.tolist()
        assert times == sorted(set(times))
        assert set(range(4 * last + 4)) <= set(times)


def test_a_full_disk_loses_nothing_that_was_there(store, monkeypatch):
    store.append(samples_of(range(4)))

    def full(self, name, content):
        raise StorageError(f"{name}: cannot write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sigdca.storage.Store.write", full)
        with pytest.raises(StorageError, match="No space left"):
            store.append(samples_of(range(4, 8)))
    assert len(all_of(store)) == 4
    assert store.append(samples_of(range(4, 8))) == 4
