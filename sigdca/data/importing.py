"""An image folder -> Parquet shards: the plan, the work on one shard, and the end.

`sigdca.distributed.importing` spreads the work. All of it can be done again: a shard that was
finished is known by the note beside it, and the manifest, which makes a data set of the folder, is
written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from sigdca.data.dataset import Dataset
from sigdca.data.decode import MAX_FILE_BYTES, decode_image
from sigdca.data.folder import Image, ImageFolder
from sigdca.data.manifest import (
    FILE_NAME,
    VERSION,
    Manifest,
    Shard,
    ShardedSplit,
    dump_manifest,
)
from sigdca.data.shards import PART_BYTES, dump_shard, label_type, rows_of
from sigdca.errors import FormatError, JobError, StorageError
from sigdca.storage import Store

NOTES = "importing"  # the folder of an import that is not finished
PLAN = "plan.json"
INPUT_SCALE = 1 / 256  # as the built-in sources
READ_AHEAD = 8  # files read at one time: object stores answer slowly


@dataclass(frozen=True)
class Shape:
    """What every image becomes.

    Attributes:
        input_shape: (C, H, W).
        shorter_side: see `decode_image`.
    """

    input_shape: tuple[int, int, int]
    shorter_side: int | None = None


@dataclass(frozen=True)
class ShardTask:
    """The work on one shard.

    Attributes:
        name: of the shard, inside the destination.
        images: what goes into it, in this order.
    """

    name: str
    images: tuple[Image, ...]

    @property
    def note(self) -> str:
        """The file that says that it is done."""
        return f"{NOTES}/{self.name.replace('/', '-')}.json"


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes:
        name: of the shard.
        num_images: those written.
        sha256: of the file; empty where no image was left to write.
        damaged: why images were left out, one line each, beginning with the path.
    """

    name: str
    num_images: int
    sha256: str
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All that determines an import.

    Attributes:
        source: the image folder.
        destination: where the data set comes.
        folder: what is in the image folder.
        shape: what every image becomes.
        name: of the data set.
        skip_damaged: whether to leave out images that cannot be decoded.
    """

    source: Store
    destination: Store
    folder: ImageFolder
    shape: Shape
    name: str
    skip_damaged: bool = False

    def tasks(self) -> list[ShardTask]:
        """The shards of all splits."""
        step = rows_of(PART_BYTES, int(np.prod(self.shape.input_shape)))
        return [
            ShardTask(f"{split}/part-{number:05d}.parquet", images[start : start + step])
            for split, images in self.folder.splits.items()
            for number, start in enumerate(range(0, len(images), step))
        ]

    def digest(self) -> str:
        """One for the same images, by path and size, and the same settings.

        Whether damaged images are left out makes no difference to the shards that are whole.
        """
        images = {
            split: [(image.path, image.label, image.size) for image in images]
            for split, images in self.folder.splits.items()
        }
        words = [self.source.root, images, self.folder.classes, asdict(self.shape)]
        text = json.dumps([*words, self.name], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def begin(plan: Plan, where: str) -> None:
    """Takes the destination, which must be empty or hold the unfinished import of the same plan.

    Args:
        plan: the import.
        where: what to call the destination in messages.

    Raises:
        JobError: something else is there.
        StorageError: it cannot be written.
    """
    destination, notes = plan.destination, plan.destination.child(NOTES)
    if destination.exists(FILE_NAME):
        raise JobError(f"{where}: holds a data set already; remove it, or name another folder")
    there = destination.names()
    if not there:
        notes.write(PLAN, json.dumps({"plan": plan.digest()}).encode())
        return
    if not notes.exists(PLAN):
        raise JobError(f"{where}: holds other files, such as {there[0]}; name an empty folder")
    try:
        known = json.loads(notes.read(PLAN, at_most=1 << 20)).get("plan")
    except (ValueError, AttributeError):
        known = None
    if known != plan.digest():
        raise JobError(
            f"{where}: holds an unfinished import of other images or with other options; "
            "remove it, or name another folder"
        )


def write_shard(plan: Plan, task: ShardTask) -> ShardResult:
    """Decodes the images of a shard and writes it, unless that was done before.

    Returns:
        The result. Where images are damaged and none may be left out, it names them and nothing
        is written.

    Raises:
        StorageError: a file cannot be read or written.
    """
    known = _noted(plan.destination, task)
    if known is not None:
        return known
    images = np.empty((len(task.images), *plan.shape.input_shape), np.uint8)
    labels: list[int] = []
    damaged: list[str] = []
    for image, content in _contents(plan.source, task.images):
        try:
            if isinstance(content, FormatError):
                raise content
            shape, side = plan.shape.input_shape, plan.shape.shorter_side
            images[len(labels)] = decode_image(content, shape, side)
        except FormatError as error:
            damaged.append(f"{plan.source.path(image.path)}: {error}")
            if not plan.skip_damaged:
                return ShardResult(task.name, 0, "", tuple(damaged))
            continue
        labels.append(image.label)
    digest = ""
    if labels:
        kind = label_type(len(plan.folder.classes))
        content = dump_shard(Dataset(images[: len(labels)], np.array(labels, kind)))
        digest = hashlib.sha256(content).hexdigest()
        plan.destination.write(task.name, content)
    result = ShardResult(task.name, len(labels), digest, tuple(damaged))
    plan.destination.write(task.note, json.dumps(asdict(result)).encode())
    return result


def finish(plan: Plan, results: Sequence[ShardResult]) -> Manifest:
    """Writes the manifest, and removes the notes.

    Raises:
        JobError: no image was left of a split.
        StorageError: it cannot be written.
    """
    splits = {}
    for split in plan.folder.splits:
        shards = sorted(
            (result for result in results if result.name.startswith(f"{split}/")),
            key=lambda result: result.name,
        )
        whole = [
            Shard(name=shard.name, num_images=shard.num_images, sha256=shard.sha256)
            for shard in shards
            if shard.num_images
        ]
        if not whole:
            raise JobError(f"{plan.source.path(split)}: no image could be decoded")
        count = sum(shard.num_images for shard in whole)
        splits[split] = ShardedSplit(num_images=count, shards=whole)
    manifest = Manifest.model_validate(
        {
            "version": VERSION,
            "name": plan.name,
            "classes": list(plan.folder.classes),
            "input_shape": list(plan.shape.input_shape),
            "input_scale": INPUT_SCALE,
            "splits": splits,
        }
    )
    plan.destination.write(FILE_NAME, dump_manifest(manifest))
    plan.destination.remove(NOTES)
    return manifest


def _noted(destination: Store, task: ShardTask) -> ShardResult | None:
    """The result of a shard that an earlier attempt finished and that is still whole."""
    if not destination.exists(task.note):
        return None
    try:
        found = json.loads(destination.read(task.note, at_most=64 << 20))
        result = ShardResult(**(found | {"damaged": tuple(found["damaged"])}))
        content = destination.read(task.name) if result.num_images else b""
    except (ValueError, TypeError, KeyError, StorageError):
        return None  # half of it is there: it is done anew
    is_whole = not result.num_images or hashlib.sha256(content).hexdigest() == result.sha256
    return result if is_whole else None


def _contents(
    store: Store, images: Sequence[Image]
) -> Iterator[tuple[Image, bytes | FormatError]]:
    """The files of some images, a few read ahead."""

    def read(image: Image) -> bytes | FormatError:
        if image.size > MAX_FILE_BYTES:
            return FormatError(f"{image.size} bytes, at most {MAX_FILE_BYTES}")
        return store.read(image.path)

    with ThreadPoolExecutor(READ_AHEAD) as pool:
        for start in range(0, len(images), READ_AHEAD):
            some = images[start : start + READ_AHEAD]
            yield from zip(some, pool.map(read, some), strict=True)
