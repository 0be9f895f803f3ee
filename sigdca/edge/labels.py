"""Labels by people: samples written out to be looked at, and what was found read back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.acquired import Acquired
from sigdca.edge.samples import ids_of, joined
from sigdca.errors import FormatError, JobError, StorageError
from sigdca.storage import write_file

TABLE = "labels.csv"
HEADER = ("file", "class_found", "margin", "label")
MAX_TABLE_BYTES = 64 << 20
_ID = re.compile(r"([0-9a-f]{32})(\.\w+)?\Z")


class Labels:
    """What labels are called."""

    def __init__(self, classes: Iterable[str] | None, num_classes: int) -> None:
        """Keeps the names.

        Raises:
            JobError: there are more names than the model has classes, or one comes twice.
        """
        names = [str(number) for number in range(num_classes)] if classes is None else [*classes]
        if len(names) > num_classes or len(set(names)) != len(names):
            raise JobError(
                f"classes: must be at most {num_classes} different names, got {len(names)}"
            )
        self._numbers = {name: number for number, name in enumerate(names)}

    def number(self, name: str, where: str) -> int:
        """The label of that name.

        Raises:
            FormatError: there is none.
        """
        if name not in self._numbers:
            known = ", ".join(list(self._numbers)[:20])
            raise FormatError(f"{where}: no class is called '{name[:60]}'; known are {known}")
        return self._numbers[name]


def write_unlabelled(store: Acquired, to: Path, at_most: int) -> int:
    """Writes the samples without labels, the least certain first, as pictures with a table.

    The table has an empty column for a person to fill in; or the pictures are sorted into folders
    of classes. `read_labels` takes both.

    Args:
        store: where they are.
        to: an empty folder.
        at_most: how many.

    Returns:
        How many were written.

    Raises:
        JobError: the folder holds a table already.
        StorageError: it cannot be written.
    """
    if (to / TABLE).exists():
        raise JobError(f"{to / TABLE}: is there already; name another folder")
    parts = [part.take(~part.is_labelled) for _, part in store.read()]
    if not sum(map(len, parts)):
        return 0
    samples = joined(parts)
    samples = samples.take(np.argsort(samples.margins, kind="stable")[:at_most])
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(HEADER)
    for place, one in enumerate(ids_of(samples.images)):
        name, content = picture(samples.images[place])
        write_file(to / f"{one.hex()}{name}", content)
        margin = f"{samples.margins[place]:.3f}"
        rows.writerow([f"{one.hex()}{name}", samples.classes[place], margin, ""])
    write_file(to / TABLE, table.getvalue().encode())
    return len(samples)


def picture(image: NDArray[np.uint8]) -> tuple[str, bytes]:
    """The suffix and content of a picture's file: grey PGM, colour PPM, anything else `.npy`."""
    channels, height, width = image.shape
    if channels not in (1, 3):
        sink = io.BytesIO()
        np.save(sink, image[np.newaxis], allow_pickle=False)
        return ".npy", sink.getvalue()
    suffix, kind = (".pgm", "P5") if channels == 1 else (".ppm", "P6")
    head = f"{kind} {width} {height} 255\n".encode()
    return suffix, head + np.moveaxis(image, 0, 2).tobytes()


def read_labels(source: Path, labels: Labels) -> dict[bytes, int]:
    """Labels by the samples' ids, from a table or from folders of classes.

    Args:
        source: a CSV file with columns `file` (or `id`) and `label`, where an empty label is
            none; or a folder with `CLASS/ID.pgm`.
        labels: what they are called.

    Raises:
        FormatError: it holds something else; the message names the line.
        StorageError: it cannot be read.
    """
    if source.is_dir():
        found = {}
        for path in sorted(source.glob("*/*")):
            where = f"{path}"
            found[_id(path.name, where)] = labels.number(path.parent.name, where)
        if not found:
            raise FormatError(f"{source}: has no CLASS/ID files")
        return found
    return _read_table(source, labels)


def _read_table(path: Path, labels: Labels) -> dict[bytes, int]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise StorageError(f"{path}: cannot read: {reason}") from error
    if len(content) > MAX_TABLE_BYTES:
        raise FormatError(f"{path}: larger than {MAX_TABLE_BYTES} bytes")
    found: dict[bytes, int] = {}
    try:
        rows = csv.DictReader(io.StringIO(text), strict=True)
        key = next((name for name in ("file", "id") if name in (rows.fieldnames or ())), None)
        if key is None or "label" not in (rows.fieldnames or ()):
            raise FormatError(f"{path}: line 1 must name the columns file (or id) and label")
        for row in rows:
            label = (row["label"] or "").strip()
            if label:
                where = f"{path}: line {rows.line_num}"
                found[_id(row[key] or "", where)] = labels.number(label, where)
    except csv.Error as error:
        raise FormatError(f"{path}: not a table: {error}") from error
    return found


def _id(name: str, where: str) -> bytes:
    match = _ID.match(name.rpartition("/")[2])
    if match is None:
        raise FormatError(f"{where}: '{name[:60]}' is not a sample's id, nor a file named by it")
    return bytes.fromhex(match[1])
