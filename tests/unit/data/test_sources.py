"""`fetch` and `load`: the cache is whole, verified, mended, and safe against full disks."""

import logging
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from sigdca.data import SOURCES, Dataset, fetch, find_source, load
from sigdca.data.cache import cache_folder, cached_path, read_cached, write_cached
from sigdca.errors import FormatError, JobError, StorageError


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def same(one, other):
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


def test_load_fetches_once_and_keeps_parquet(install, small, server, tmp_path):
    install(server.url("good"))
    for split, dataset in small.datasets.items():
        assert same(load("small", split), dataset)
    assert len(server.requests) == 4
    assert files_below(tmp_path / "cache") == [
        "data/small/test.parquet",
        "data/small/train.parquet",
    ]


def test_arrays_are_of_the_caller(install, server):
    install(server.url("good"))
    dataset = load("small", "train")
    dataset.images[0] = 0
    dataset.labels[0] = 0
    assert not same(load("small", "train"), dataset)


def test_parquet_has_plain_columns_and_says_where_it_is_from(install, small, server):
    source = install(server.url("good"))
    path = fetch("small")["train"]
    assert path == cached_path(source, "train")
    table = pq.read_table(path)
    assert str(table.schema.field("image").type) == "fixed_size_binary[64]"
    assert str(table.schema.field("label").type) == "uint8"
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata == {
        "sigdca.source": "small",
        "sigdca.split": "train",
        "sigdca.input_shape": "1,8,8",
        "sigdca.sha256": small.datasets["train"].sha256(),
        "sigdca.origin": server.url("good") + "/train-images.gz",
    }


def test_unknown_source_and_split(install, server):
    with pytest.raises(JobError, match="unknown source 'mnits'; did you mean 'mnist'\\?"):
        load("mnits", "train")
    with pytest.raises(JobError, match="unknown source 'zzz'; known sources are mnist"):
        find_source("zzz")
    install(server.url("good"))
    with pytest.raises(JobError, match="small has no split 'tset'; it has train and test"):
        load("small", "tset")
    assert server.requests == []


def damage_cut(content, other):
    return content[: len(content) // 2]


def damage_text(content, other):
    return b"not a Parquet file"


def damage_empty(content, other):
    return b""


def damage_other_images(content, other):
    return other


@pytest.mark.parametrize("damage", [damage_cut, damage_text, damage_empty, damage_other_images])
def test_damaged_cache_is_fetched_again(install, small, server, caplog, damage):
    source = install(server.url("good"))
    path = fetch("small")["train"]
    good = path.read_bytes()
    dataset = small.datasets["train"]
    write_cached(source, "train", Dataset(dataset.images ^ 1, dataset.labels), "elsewhere")
    other = path.read_bytes()
    path.write_bytes(damage(good, other))
    server.requests.clear()
    with caplog.at_level(logging.WARNING):
        assert same(load("small", "train"), dataset)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["damaged"] * 2
    assert server.requests == ["/good/train-images.gz", "/good/train-labels.gz"]
    assert path.read_bytes() == good


def test_no_flipped_byte_gives_other_data(install, small, server):
    source = install(server.url("good"))
    path = fetch("small")["train"]
    good = path.read_bytes()
    found = 0
    for at in range(0, len(good), 5):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            assert same(read_cached(source, "train"), small.datasets["train"])
        except FormatError:
            found += 1
    assert found > len(good) / 5 / 2  # the rest are bytes that say nothing about the data


@pytest.mark.usefixtures("no_npm")
def test_failed_fetch_leaves_nothing(install, server, tmp_path):
    install(server.url("short"))
    with pytest.raises(StorageError):
        load("small", "train")
    assert files_below(tmp_path / "cache") == []


def test_digest_of_the_decoded_images_is_checked_too(
    install, small, server, monkeypatch, tmp_path
):
    source = install(server.url("good"))
    wrong = dict(small.datasets)
    wrong["train"] = Dataset(wrong["train"].images[::-1], wrong["train"].labels)
    object.__setattr__(
        source, "obtain", lambda splits, progress: {split: (wrong[split], "x") for split in splits}
    )
    with pytest.raises(StorageError, match=r"small: train from x has sha256 .* must be"):
        fetch("small")
    assert files_below(tmp_path / "cache") == []


def test_unwritable_cache_is_found_before_the_download(install, server, monkeypatch, tmp_path):
    install(server.url("good"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGDCA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"cannot be .*Not a directory"):
        fetch("small")
    monkeypatch.setenv("SIGDCA_CACHE", "/proc/cache")
    with pytest.raises(StorageError, match=r"/proc/cache.*set SIGDCA_CACHE to a folder that can"):
        fetch("small")
    assert server.requests == []


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SIGDCA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "sigdca"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(cache_folder()) == "/x/sigdca"
    monkeypatch.setenv("SIGDCA_CACHE", "/y")
    assert str(cache_folder()) == "/y"


FETCH = """
import pickle, resource, sys
from sigdca.data import SOURCES, fetch
from sigdca.errors import StorageError
SOURCES["small"] = pickle.load(open(sys.argv[1], "rb"))
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    fetch("small")
except StorageError as error:
    sys.exit(f"StorageError: {error}")
"""


@pytest.fixture
def fetcher(install, server, tmp_path):
    """Starts `fetch("small")` in a process of its own: the command, less its limit in bytes."""
    (tmp_path / "source").write_bytes(pickle.dumps(install(server.url("good"))))
    return [sys.executable, "-c", FETCH, str(tmp_path / "source")]


def test_processes_at_once(fetcher, small, tmp_path):
    started = [
        subprocess.Popen([*fetcher, "0"], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in started]
    assert ends == [("", 0)] * 4
    assert same(read_cached(SOURCES["small"], "train"), small.datasets["train"])
    assert len(files_below(tmp_path / "cache")) == 2


def test_file_that_cannot_grow(fetcher, tmp_path):
    ended = subprocess.run([*fetcher, "1000"], stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("StorageError: ")
    assert "train.parquet: cannot write: File too large; free some space" in ended.stderr
    assert files_below(tmp_path / "cache") == []


def test_full_disk(fetcher, tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("needs a mount namespace of its own")
    disk = tmp_path / "cache"
    disk.mkdir()
    # The disk holds one page more than its folders need; what is on it is listed at the end.
    script = (
        f'mount -t tmpfs -o size=4k tmpfs {disk} || exit 77; "$@"; code=$?; '
        f"find {disk} -type f; exit $code"
    )
    ended = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, "sh", *fetcher, "0"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SIGDCA_CACHE": str(disk)},
    )
    if ended.returncode == 77:
        pytest.skip("may not mount a tmpfs")
    assert ended.returncode == 1
    assert "No space left on device; free some space or set SIGDCA_CACHE" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
