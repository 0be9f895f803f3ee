"""The copy on this machine: one Parquet file per split, verified each time it is read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sigdca.data.dataset import Dataset, Source
from sigdca.errors import FormatError, StorageError
from sigdca.storage import write_file

ROWS_PER_GROUP = 10_000  # lets a reader of a part (a Ray worker) skip the rest


def cache_folder() -> Path:
    """`$SIGDCA_CACHE`, else `$XDG_CACHE_HOME/sigdca`, else `~/.cache/sigdca`."""
    if own := os.environ.get("SIGDCA_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "sigdca"
    return Path.home() / ".cache" / "sigdca"


def cached_path(source: Source, split: str) -> Path:
    """Where a split is kept, whether it is there or not."""
    return cache_folder() / "data" / source.name / f"{split}.parquet"


def prepare_folder(folder: Path) -> None:
    """Makes sure that files can be made in `folder`, before anything is downloaded for it.

    Raises:
        StorageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"{folder}: cannot be written: {reason}; set SIGDCA_CACHE to a folder that can"
        ) from error


def write_cached(source: Source, split: str, dataset: Dataset, origin: str) -> Path:
    """Keeps a split; whole or not at all.

    Args:
        source: whose it is.
        split: its name.
        dataset: its images and labels.
        origin: the address that it came from, noted in the file.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    pixels = pa.py_buffer(np.ascontiguousarray(dataset.images))
    schema = _schema(source).with_metadata(
        {
            "sigdca.source": source.name,
            "sigdca.split": split,
            "sigdca.input_shape": ",".join(map(str, source.input_shape)),
            "sigdca.sha256": source.splits[split].sha256,
            "sigdca.origin": origin,
        }
    )
    table = pa.Table.from_arrays(
        [
            pa.Array.from_buffers(schema.field("image").type, len(dataset), [None, pixels]),
            pa.array(dataset.labels),
        ],
        schema=schema,
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    path = cached_path(source, split)
    try:
        write_file(path, sink.getvalue())
    except StorageError as error:
        raise StorageError(f"{error}; free some space or set SIGDCA_CACHE") from error
    return path


def read_cached(source: Source, split: str) -> Dataset | None:
    """The split as it was kept, or None if it is not there.

    Raises:
        FormatError: the file is damaged.
        StorageError: the file cannot be read.
    """
    path = cached_path(source, split)
    spec = source.splits[split]
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        dataset = _decode(content, source, spec.num_images)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"{path}: damaged: {reason}") from error
    if dataset.sha256() != spec.sha256:
        raise FormatError(f"{path}: damaged: its images and labels do not have the known sha256")
    return dataset


def _schema(source: Source) -> pa.Schema:
    image = pa.binary(int(np.prod(source.input_shape)))
    return pa.schema(
        [
            pa.field("image", image, nullable=False),
            pa.field("label", pa.uint8(), nullable=False),
        ]
    )


def _decode(content: bytes, source: Source, num_images: int) -> Dataset:
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(_schema(source)):
            raise ValueError("its columns are not those of this source")
        if file.metadata.num_rows != num_images:
            raise ValueError(f"has {file.metadata.num_rows} images, must have {num_images}")
        table = file.read()
    images = np.empty((num_images, *source.input_shape), np.uint8)
    row_bytes = int(np.prod(source.input_shape))
    done = 0
    for chunk in table.column("image").chunks:
        flat = np.frombuffer(
            chunk.buffers()[1], np.uint8, len(chunk) * row_bytes, chunk.offset * row_bytes
        )
        images[done : done + len(chunk)] = flat.reshape(-1, *source.input_shape)
        done += len(chunk)
    # A copy, for arrays that lie in Arrow's memory are read-only.
    return Dataset(images, np.array(table.column("label").to_numpy(), np.uint8))
