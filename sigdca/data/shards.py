"""Parquet shards of an imported data set: written by an import, read whole or in part."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sigdca.data.dataset import Dataset
from sigdca.data.manifest import Manifest, Shard
from sigdca.errors import FormatError, StorageError
from sigdca.storage import Store

COLUMNS = ["image", "label"]
PART_BYTES = 64 << 20  # of pixels: what is decoded at one time
GROUP_BYTES = 8 << 20  # of pixels in a row group: the least that a reader of a part reads


def label_type(num_classes: int) -> npt.DTypeLike:
    """The type of a Dataset's labels."""
    return np.uint8 if num_classes <= 256 else np.int64


def rows_of(num_bytes: int, image_bytes: int, unit: int = 1) -> int:
    """How many images have about so many bytes: a multiple of `unit`, one unit at least."""
    return max(1, num_bytes // (image_bytes * unit)) * unit


def dump_shard(dataset: Dataset) -> bytes:
    """The Parquet file of some images; the same images give the same bytes."""
    table = _to_table(dataset)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=rows_of(GROUP_BYTES, dataset.images[0].size),
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _to_table(dataset: Dataset) -> pa.Table:
    image_bytes = int(np.prod(dataset.images.shape[1:]))
    pixels = pa.py_buffer(np.ascontiguousarray(dataset.images))
    schema = pa.schema(
        [
            pa.field("image", pa.binary(image_bytes), nullable=False),
            pa.field("label", pa.int32(), nullable=False),
        ]
    )
    columns = [
        pa.Array.from_buffers(schema.field("image").type, len(dataset), [None, pixels]),
        pa.array(dataset.labels.astype(np.int32)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def read_whole(store: Store, manifest: Manifest, shards: list[Shard]) -> Dataset:
    """Some shards, each verified by its sha256.

    Raises:
        FormatError: a shard is damaged, or not what the manifest says.
        StorageError: one is missing, cannot be read, or memory cannot hold them.
    """
    check_footers(store, shards)
    count = sum(shard.num_images for shard in shards)
    try:
        images = np.empty((count, *manifest.input_shape), np.uint8)
    except (MemoryError, ValueError) as error:
        needed = count * manifest.image_bytes
        raise StorageError(
            f"{store.root}: {count} images are {needed} bytes, more than memory can hold; "
            "data.streaming: true reads them as a stream"
        ) from error
    labels = np.empty(count, label_type(len(manifest.classes)))
    done = 0
    for shard in shards:
        content = store.read(shard.name)
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise FormatError(f"{store.path(shard.name)}: damaged: not the sha256 of its manifest")
        with _parquet(store, shard, pa.BufferReader(content)) as file:
            rows = rows_of(PART_BYTES, manifest.image_bytes)
            for batch in file.iter_batches(rows, columns=COLUMNS):
                part = to_dataset(batch, manifest, store.path(shard.name))
                images[done : done + len(part)] = part.images
                labels[done : done + len(part)] = part.labels
                done += len(part)
    if done != count:
        raise FormatError(f"{store.root}: {done} images, their footers promise {count}")
    return Dataset(images, labels)


def read_range(store: Store, manifest: Manifest, split: str, start: int, end: int) -> Dataset:
    """The images [start, end) of a split, from the row groups that they lie in.

    Pages are verified by their checksums, where the file has some.

    Raises:
        FormatError: a shard is damaged, or not what the manifest says.
        StorageError: one is missing, or cannot be read.
    """
    parts = [
        part
        for shard, first, last in overlaps(manifest, split, start, end)
        for part in _rows(store, manifest, shard, first, last)
    ]
    images = np.concatenate([part.images for part in parts])
    return Dataset(images, np.concatenate([part.labels for part in parts]))


def overlaps(
    manifest: Manifest, split: str, start: int, end: int
) -> Iterator[tuple[Shard, int, int]]:
    """The shards that hold images [start, end) of a split, and which rows of each."""
    at = 0
    for shard in manifest.split(split).shards:
        first, last = max(start - at, 0), min(end - at, shard.num_images)
        if first < last:
            yield shard, first, last
        at += shard.num_images


def to_dataset(table: pa.Table | pa.RecordBatch, manifest: Manifest, where: str) -> Dataset:
    """Images and labels out of Parquet's columns.

    Args:
        table: has the columns `image` and `label`.
        manifest: whose shape and classes they must have.
        where: what to call them in messages.

    Raises:
        FormatError: they are something else.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    for name in COLUMNS:
        if name not in table.column_names:
            raise FormatError(f"{where}: has no column '{name}'")
        if table.column(name).null_count:
            raise FormatError(f"{where}: column '{name}' has nulls")
    labels = table.column("label")
    if not pa.types.is_integer(labels.type):
        raise FormatError(f"{where}: labels must be whole numbers, got {labels.type}")
    numbers = labels.to_numpy()
    num_classes = len(manifest.classes)
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < num_classes):
        wrong = numbers[(numbers < 0) | (numbers >= num_classes)][0]
        raise FormatError(f"{where}: labels must be 0 to {num_classes - 1}, got {wrong}")
    pixels = _pixels(table.column("image"), manifest.image_bytes, where)
    images = pixels.reshape(-1, *manifest.input_shape)
    return Dataset(images, numbers.astype(label_type(num_classes)))


def _pixels(column: pa.ChunkedArray, image_bytes: int, where: str) -> npt.NDArray[np.uint8]:
    kind = column.type
    fixed = pa.types.is_fixed_size_binary(kind)
    if not fixed and not pa.types.is_binary(kind) and not pa.types.is_large_binary(kind):
        raise FormatError(f"{where}: images must be binary, got {kind}")
    pixels = np.empty((len(column), image_bytes), np.uint8)
    if fixed and kind.byte_width != image_bytes:
        raise FormatError(f"{where}: images of {kind.byte_width} bytes, must be {image_bytes}")
    done = 0
    for chunk in column.chunks:
        if not fixed:
            lengths = np.unique(pc.binary_length(chunk).to_numpy())
            if wrong := [int(length) for length in lengths if length != image_bytes]:
                raise FormatError(f"{where}: an image of {wrong[0]} bytes, must be {image_bytes}")
            chunk = chunk.cast(pa.binary(image_bytes))
        flat = np.frombuffer(
            chunk.buffers()[1], np.uint8, len(chunk) * image_bytes, chunk.offset * image_bytes
        )
        pixels[done : done + len(chunk)] = flat.reshape(-1, image_bytes)
        done += len(chunk)
    return pixels


def _rows(
    store: Store, manifest: Manifest, shard: Shard, first: int, last: int
) -> Iterator[Dataset]:
    """Rows [first, last) of a shard, row group by row group."""
    where = store.path(shard.name)
    with store.open(shard.name) as source, _parquet(store, shard, source) as file:
        at = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            start, end = max(first - at, 0), min(last - at, count)
            if start < end:
                table = file.read_row_group(group, columns=COLUMNS)
                yield to_dataset(table.slice(start, end - start), manifest, where)
            at += count


def read_table(store: Store, manifest: Manifest, shard: Shard, first: int, last: int) -> pa.Table:
    """Rows [first, last) of a shard as one table whose columns have one form, whatever the file's.

    Raises:
        FormatError: the shard is damaged, or not what the manifest says.
        StorageError: it is missing, or cannot be read.
    """
    parts = [_to_table(part) for part in _rows(store, manifest, shard, first, last)]
    return pa.concat_tables(parts)


def check_footers(store: Store, shards: list[Shard]) -> None:
    """Opens each shard and compares its number of images with the manifest's.

    Raises:
        FormatError: a shard is not Parquet, or has another number of images.
        StorageError: one is missing, or cannot be read.
    """
    for shard in shards:
        with store.open(shard.name) as source, _parquet(store, shard, source):
            pass


@contextlib.contextmanager
def _parquet(store: Store, shard: Shard, source: object) -> Iterator[pq.ParquetFile]:
    """The shard as Parquet, with all that may be wrong with it in one line."""
    where = store.path(shard.name)
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            found = file.metadata.num_rows
            if found != shard.num_images:
                raise FormatError(
                    f"{where}: has {found} images, its manifest says {shard.num_images}"
                )
            if missing := set(COLUMNS) - set(file.schema_arrow.names):
                raise FormatError(f"{where}: has no column '{min(missing)}'")
            yield file
    except (FormatError, StorageError):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"{where}: damaged: {reason}") from error
