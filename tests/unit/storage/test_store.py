import os
import subprocess
import sys
import time

import pyarrow.fs as pafs
import pytest

from sigdca.errors import StorageError
from sigdca.storage import Store, beneath, open_store, write_file


@pytest.fixture(params=["local", "object"])
def store(request, tmp_path):
    """The local disk, and a file system that is not the local class, as object stores are not."""
    if request.param == "local":
        return open_store(str(tmp_path / "runs"))
    return Store(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "runs")


def test_what_is_written_is_read(store):
    store.write("a/b.bin", b"12")
    store.write("a/b.bin", b"345")
    assert store.read("a/b.bin") == b"345"
    assert store.child("a").names() == ["b.bin"]


def test_a_folder_that_is_not_there_has_no_names(store):
    assert store.child("none").names() == []
    assert not store.exists("none")


def test_a_name_that_is_no_text_is_said(tmp_path):
    store = open_store(str(tmp_path))
    (tmp_path / "b").write_bytes(b"1")
    os.mkdir(os.fsencode(tmp_path) + b"/\xe8")
    os.rename(tmp_path / "b", os.fsencode(tmp_path) + b"/\xe9")
    for listing in (store.files, store.folders, store.names):
        with pytest.raises(StorageError, match=r": cannot list: a file's name is not .*\\xe[89]$"):
            listing()


def test_links_that_lead_nowhere_are_found(tmp_path):
    store = open_store(str(tmp_path))
    store.write("a/b", b"1")
    (tmp_path / "a/fine").symlink_to("b")
    (tmp_path / "a/gone").symlink_to("c")
    (tmp_path / "none").symlink_to("d")
    assert store.broken_links() == ["a/gone", "none"]


def test_a_missing_file_is_named(store):
    with pytest.raises(StorageError, match="runs/none: cannot read"):
        store.read("none")


def test_an_artifact_is_found_by_its_hash_and_verified(store):
    digest = store.put(b"weights")
    assert store.put(b"weights") == digest
    assert store.get(digest) == b"weights"
    store.write(f"artifacts/{digest}", b"weight!")
    with pytest.raises(StorageError, match="damaged: its sha256 is"):
        store.get(digest)
    assert not store.has(digest)
    store.put(b"weights")
    assert store.get(digest) == b"weights"


def test_set_aside_keeps_every_earlier_run(store):
    assert store.set_aside("run") is None
    for expected in ("run.1", "run.2"):
        store.write("run/job.yaml", expected.encode())
        assert store.set_aside("run") == expected
    assert not store.exists("run")
    assert store.read("run.1/job.yaml") == b"run.1"


def test_remove_takes_a_folder_away_or_does_nothing(store):
    store.write("gone/x", b"1")
    store.remove("gone")
    store.remove("gone")
    assert not store.exists("gone")


def test_an_address_is_a_path_or_a_uri(tmp_path):
    open_store(f"file://{tmp_path}/runs").write("x", b"1")
    assert open_store(str(tmp_path / "runs")).read("x") == b"1"
    with pytest.raises(StorageError, match="nowhere"):
        open_store("nowhere://bucket/runs")


def test_a_name_in_the_folder_at_an_address():
    assert beneath("runs/", "a/b") == "runs/a/b"
    assert beneath("s3://lab/runs?scheme=http", "a") == "s3://lab/runs/a?scheme=http"


def test_a_file_says_when_it_was_written(store):
    store.write("a", b"1")
    assert abs(store.modified_s("a") - time.time()) < 60
    assert store.modified_s("none") is None


def test_a_lock_keeps_other_processes_out(tmp_path):
    store = open_store(str(tmp_path))
    code = (
        "import sys; from sigdca.storage import open_store\n"
        "from sigdca.errors import StorageError\n"
        "try:\n"
        "    with open_store(sys.argv[1]).lock('run'): print('free')\n"
        "except StorageError as error: print(error)"
    )

    def other():
        run = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout

    with store.lock("run"):
        assert "another process is at work there" in other()
    assert other() == "free\n"


FULL_DISK = """
import resource, signal, sys
from sigdca.errors import StorageError
from sigdca.storage import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(sys.argv[1], bytes(5000))
except StorageError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file_and_no_half_file(tmp_path):
    path = tmp_path / "model.dca"
    write_file(path, b"old")
    run = [sys.executable, "-c", FULL_DISK, str(path)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{path}: cannot write: ")
    assert said.count("\n") == 1
    assert os.listdir(tmp_path) == ["model.dca"]
    assert path.read_bytes() == b"old"


def test_room_is_looked_for_where_the_folder_will_be(tmp_path):
    store = open_store(str(tmp_path / "not/yet/there"))
    store.check_room(1)
    with pytest.raises(
        StorageError, match=r"there: \d+ MiB are free on its disk, at least \d+ are"
    ):
        store.check_room(2**60)
    assert not (tmp_path / "not").exists()
