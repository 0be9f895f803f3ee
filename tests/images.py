"""Image folders and imported data sets for tests."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from sigdca.data import Dataset
from sigdca.data.manifest import FILE_NAME, Manifest, dump_manifest
from sigdca.data.shards import dump_shard


def write_image(path: Path, value: int = 100, size: tuple[int, int] = (10, 12), mode: str = "L"):
    """A plain image of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], value).save(path)
    return path


def write_data_set(folder: Path, num_images: dict[str, list[int]], num_classes: int = 10):
    """A data set whose images of 1 x 2 x 4 pixels hold their own numbers.

    Args:
        folder: where.
        num_images: of each shard of each split.
        num_classes: labels are the images' numbers, modulo this.

    Returns:
        The manifest, which is on disk too.
    """
    shards: dict[str, list[Dataset]] = {}
    for split, counts in num_images.items():
        ends = np.cumsum([0, *counts])
        shards[split] = [
            numbered(np.arange(start, end), num_classes) for start, end in pairwise(ends)
        ]
    return write_shards(folder, shards, num_classes, "numbered")


def write_shards(folder: Path, shards: dict[str, list[Dataset]], num_classes: int, name: str):
    """A data set of images that are given, shard by shard of each split.

    Returns:
        The manifest, which is on disk too.
    """
    splits = {}
    for split, parts in shards.items():
        told = []
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(parts):
            content = dump_shard(part)
            file = f"{split}/part-{number:05d}.parquet"
            (folder / file).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            told.append({"name": file, "num_images": len(part), "sha256": digest})
        splits[split] = {"num_images": sum(map(len, parts)), "shards": told}
    shape = next(parts[0].images.shape[1:] for parts in shards.values() if parts)
    manifest = Manifest.model_validate(
        {
            "version": 1,
            "name": name,
            "classes": [f"class-{number}" for number in range(num_classes)],
            "input_shape": list(shape),
            "input_scale": 1 / 256,
            "splits": splits,
        }
    )
    (folder / FILE_NAME).write_bytes(dump_manifest(manifest))
    return manifest


def numbered(numbers, num_classes=10):
    """Images whose pixels are the bytes of their numbers."""
    images = np.asarray(numbers, "<u8").view(np.uint8).reshape(-1, 1, 2, 4)
    labels = np.asarray(numbers) % num_classes
    return Dataset(images, labels.astype(np.uint8 if num_classes <= 256 else np.int64))


def numbers_of(images):
    """The numbers of such images."""
    return np.ascontiguousarray(images).ravel().view("<u8").tolist()
