"""`dataset.json`: what an imported data set says of itself. Nothing in it is trusted unread.

The folder of a data set holds, for each split, Parquet files (shards) with two columns: `image`,
the pixels of one image as bytes in the order C, H, W, and `label`, a whole number. `dataset.json`
is written last: a folder without it is no data set.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sigdca.errors import FormatError, JobError
from sigdca.storage import Store

FILE_NAME = "dataset.json"
VERSION = 1
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MAX_MANIFEST_BYTES = 64 << 20  # a hundred thousand shards are 20 MiB
MAX_CLASSES = 1_000_000
MAX_AXIS = 16_384
MAX_IMAGE_BYTES = 256 << 20

SplitName = Literal["train", "test"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Shard(_Part):
    """One Parquet file.

    Attributes:
        name: its path inside the data set's folder.
        num_images: its rows.
        sha256: of the file.
    """

    # No `..`, no leading `/`, nothing hidden: it stays inside the folder.
    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][^/\\\s]*$")]
    num_images: Annotated[int, Field(ge=1, lt=2**40)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ShardedSplit(_Part):
    """The images of a split: those of its shards, in their order."""

    num_images: Annotated[int, Field(ge=1, lt=2**40)]
    shards: Annotated[list[Shard], Field(min_length=1)]

    @model_validator(mode="after")
    def _counts_agree(self) -> ShardedSplit:
        found = sum(shard.num_images for shard in self.shards)
        if found != self.num_images:
            raise ValueError(f"num_images is {self.num_images}, its shards have {found}")
        return self

    def sha256(self) -> str:
        """One digest of all shards."""
        digests = "".join(shard.sha256 for shard in self.shards)
        return hashlib.sha256(digests.encode()).hexdigest()


class Manifest(_Part):
    """The whole of `dataset.json`.

    Attributes:
        version: of this form.
        name: what reports call the data set.
        classes: the names of the labels 0, 1, ...
        input_shape: (C, H, W) of every image; uint8.
        input_scale: what networks multiply a pixel by.
        splits: `train`, `test` or both.
    """

    version: Literal[1]
    name: Annotated[str, Field(pattern=NAME)]
    classes: Annotated[list[str], Field(min_length=1, max_length=MAX_CLASSES)]
    input_shape: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_AXIS)]], Field(min_length=3, max_length=3)
    ]
    input_scale: Annotated[float, Field(gt=0.0, le=1.0)]
    splits: Annotated[dict[SplitName, ShardedSplit], Field(min_length=1)]

    @model_validator(mode="after")
    def _sensible(self) -> Manifest:
        if self.image_bytes > MAX_IMAGE_BYTES:
            raise ValueError(
                f"input_shape gives {self.image_bytes} bytes an image, at most {MAX_IMAGE_BYTES}"
            )
        names = [shard.name for split in self.splits.values() for shard in split.shards]
        if len(set(names)) != len(names):
            raise ValueError("a shard is named twice")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        return self

    def split(self, name: str) -> ShardedSplit:
        """The split of that name, which must be one of `splits`."""
        return {str(known): split for known, split in self.splits.items()}[name]

    @property
    def image_bytes(self) -> int:
        """Bytes of one image's pixels."""
        return math.prod(self.input_shape)


def read_manifest(store: Store, address: str) -> Manifest:
    """Reads the manifest of the data set in a folder.

    Args:
        store: the folder.
        address: what to call it in messages.

    Raises:
        JobError: there is no manifest.
        FormatError: it is not one; the message says where it is wrong.
        StorageError: it cannot be read.
    """
    if not store.exists(FILE_NAME):
        raise JobError(
            f"data: {address}: holds no {FILE_NAME}; `sigdca data import FOLDER {address}` makes "
            "a data set of an image folder"
        )
    content = store.read(FILE_NAME, at_most=MAX_MANIFEST_BYTES)
    return parse_manifest(content, f"{address}/{FILE_NAME}")


def parse_manifest(content: bytes, where: str) -> Manifest:
    """A manifest from its bytes.

    Raises:
        FormatError: it is not one.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        got = first["input"]
        shown = f", got {got!r}" if isinstance(got, str | int | float) and at else ""
        raise FormatError(f"{where}: {at + ': ' if at else ''}{reason}{shown[:200]}") from error


def dump_manifest(manifest: Manifest) -> bytes:
    """The bytes of `dataset.json`; the same manifest gives the same bytes."""
    return (manifest.model_dump_json(indent=1) + "\n").encode()
