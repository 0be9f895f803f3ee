"""Samples that a board has acquired: the columns of their Parquet files, written and read.

| column | holds |
| --- | --- |
| `id` | the first 16 bytes of the sha256 of the image's pixels |
| `image` | its pixels, uint8 in the order C, H, W |
| `shape` | (C, H, W) |
| `time_s` | when it arrived: seconds since 1970 |
| `class`, `margin` | what the model found; by how much probability it is above the next class |
| `label` | what a person found; null until then |
| `model` | sha256 of the container that found the class |

A file comes from a disk that may fail or from a board that nobody vouches for: all of it is
checked before it is used.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sigdca.errors import FormatError

NO_LABEL = -1
ID_BYTES = 16
MAX_FILE_BYTES = 256 << 20
MAX_PIXEL_BYTES = 1 << 30  # of all images of a file
MAX_CLASSES = 1_000_000
_MAX_AXIS = 16_384


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples, in columns.

    Attributes:
        images: uint8 [n, C, H, W].
        times_s: float64 [n].
        classes: int64 [n].
        margins: float32 [n], 0 to 1.
        labels: int64 [n]; NO_LABEL where there is none.
        models: str [n].
    """

    images: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    classes: NDArray[np.int64]
    margins: NDArray[np.float32]
    labels: NDArray[np.int64]
    models: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Samples:
        """Those that a mask, places or a slice choose."""
        return Samples(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Which of them have labels."""
        return np.asarray(self.labels != NO_LABEL)


def joined(parts: Sequence[Samples]) -> Samples:
    """All samples of one or more parts, in their order."""
    names = [field.name for field in fields(Samples)]
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def ids_of(images: NDArray[np.uint8]) -> list[bytes]:
    """The ids of images: equal for equal pixels."""
    return [hashlib.sha256(one.tobytes()).digest()[:ID_BYTES] for one in images]


def keys_of(ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """Half of each id, for large sets of them."""
    return np.array([int.from_bytes(one[:8], "little") for one in ids], np.uint64)


def dump_samples(samples: Samples) -> bytes:
    """The file of one or more samples; the same samples give the same bytes."""
    count, shape = len(samples), samples.images.shape[1:]
    pixels = pa.py_buffer(np.ascontiguousarray(samples.images))
    labels = pa.array(samples.labels.astype(np.int32), mask=~samples.is_labelled)
    flat = pa.array(np.tile(np.array(shape, np.int32), count))
    columns = {
        "id": pa.array(ids_of(samples.images), pa.binary(ID_BYTES)),
        "image": pa.Array.from_buffers(pa.binary(math.prod(shape)), count, [None, pixels]),
        "shape": pa.FixedSizeListArray.from_arrays(flat, 3),
        "time_s": pa.array(samples.times_s),
        "class": pa.array(samples.classes.astype(np.int32)),
        "margin": pa.array(samples.margins),
        "label": labels,
        "model": pa.array(samples.models.tolist(), pa.string()),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns),
        sink,
        compression="zstd",
        use_dictionary=["model"],  # of images it would take their size in memory again and again
        write_page_checksum=True,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def load_samples(content: bytes, where: str) -> Samples:
    """The samples of a file.

    Args:
        content: the file.
        where: what to call it in messages.

    Raises:
        FormatError: it is not such a file, is damaged, or holds nonsense.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            shape = _check_columns(file, where)
            table = file.read(columns=list(_COLUMNS), use_threads=False)
        samples = _to_samples(table, shape, where)
    except FormatError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise FormatError(f"{where}: not a file of samples: {reason}") from error
    return samples


def _check_columns(file: pq.ParquetFile, where: str) -> tuple[int, int, int]:
    """What the footer promises, before memory is taken for it; the images' shape."""
    schema, count = file.schema_arrow, file.metadata.num_rows
    for name, is_right in _COLUMNS.items():
        if name not in schema.names:
            raise FormatError(f"{where}: has no column '{name}'")
        if not is_right(schema.field(name).type):
            raise FormatError(f"{where}: column '{name}' must not be {schema.field(name).type}")
    width = schema.field("image").type.byte_width
    if not 1 <= count * width <= MAX_PIXEL_BYTES:
        raise FormatError(f"{where}: {count} images of {width} bytes, at most {MAX_PIXEL_BYTES}")
    shapes = file.read(columns=["shape"]).column("shape").combine_chunks()
    rows = np.unique(pc.list_flatten(shapes).to_numpy().reshape(-1, 3), axis=0)
    if shapes.null_count or len(rows) != 1 or len(shapes) != count:
        raise FormatError(f"{where}: images must be of one shape")
    first, second, third = (int(axis) for axis in rows[0])
    if min(rows[0]) < 1 or max(rows[0]) > _MAX_AXIS or first * second * third != width:
        raise FormatError(f"{where}: shape {rows[0].tolist()} of {width} bytes an image")
    return first, second, third


def _to_samples(table: pa.Table, shape: tuple[int, int, int], where: str) -> Samples:
    for name in _COLUMNS:
        if name != "label" and table.column(name).null_count:
            raise FormatError(f"{where}: column '{name}' has nulls")
    image = table.column("image").combine_chunks()
    width = math.prod(shape)
    pixels = np.frombuffer(image.buffers()[1], np.uint8, len(image) * width, image.offset * width)
    samples = Samples(
        images=pixels.reshape(-1, *shape),
        times_s=table.column("time_s").to_numpy(),
        classes=table.column("class").to_numpy().astype(np.int64),
        margins=table.column("margin").to_numpy().astype(np.float32),
        labels=table.column("label").fill_null(NO_LABEL).to_numpy().astype(np.int64),
        models=np.array(table.column("model").to_pylist(), np.str_),
    )
    for name, found in (("class", samples.classes), ("label", samples.labels)):
        if found.min() < NO_LABEL or found.max() >= MAX_CLASSES:
            raise FormatError(f"{where}: column '{name}' must be 0 to {MAX_CLASSES - 1}")
    # A margin that is no number would make its sample the least certain of all for ever.
    if not (np.isfinite(samples.times_s).all() and np.isfinite(samples.margins).all()):
        raise FormatError(f"{where}: a time or margin is not finite")
    return samples


_COLUMNS = {
    "image": pa.types.is_fixed_size_binary,
    "shape": lambda kind: kind in (pa.list_(pa.int32(), 3), pa.list_(pa.int32())),
    "time_s": lambda kind: kind == pa.float64(),
    "class": lambda kind: kind == pa.int32(),
    "margin": lambda kind: kind == pa.float32(),
    "label": lambda kind: kind == pa.int32(),
    "model": lambda kind: kind == pa.string(),
}
