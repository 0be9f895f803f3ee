"""The state of a stage between two epochs, as one file that is safe to load.

A safetensors file, written and read piece by piece: a strategy that spreads a network over
processes is for networks that no process can hold.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import EllipsisType
from typing import Any, Generic, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor

from sigdca.errors import StorageError
from sigdca.storage import write_file, writing
from sigdca.training.tensors import PIECE_BYTES, Rows, Whole

FILE_NAME = "checkpoint.safetensors"
DIGEST_NAME = "checkpoint.sha256"
EARLIER_NAME = "checkpoint.pt"

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}

Kind = TypeVar("Kind", Whole, Rows)


@dataclass(frozen=True)
class Checkpoint(Generic[Kind]):
    """All that the next epoch depends on, besides the job.

    Randomness needs no state here: each epoch draws from (seed, epoch, rank) anew.

    Attributes:
        epoch: epochs done.
        model: the model's state_dict.
        optimizer: the state of each of its parameters, by their number and the optimizer's names.
        figures: what was reported of each epoch so far.
        scaler: the state_dict of what scales the loss under fp16.
        file: where the tensors are read from, if from a file.
    """

    epoch: int
    model: Mapping[str, Kind]
    optimizer: Mapping[int, Mapping[str, Kind]]
    figures: list[dict[str, Any]]
    scaler: dict[str, Any] = field(default_factory=dict)
    file: StoredTensors | None = None

    def close(self) -> None:
        """Lets go of the file, after which its tensors cannot be read."""
        if self.file is not None:
            self.file.close()


class StoredTensors:
    """A safetensors file whose pages are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Opens it; all that its header says is checked."""
        self.handle: Any = safe_open(path, "pt")

    def close(self) -> None:
        """A file that was deleted takes its room on the disk until then."""
        self.handle = None


class _Stored:
    """A tensor in a file; see `Rows`."""

    def __init__(self, file: StoredTensors, name: str) -> None:
        self._file, self._name = file, name
        self.shape: tuple[int, ...] = tuple(file.handle.get_slice(name).get_shape())

    def __getitem__(self, index: slice | EllipsisType, /) -> Tensor:
        rows: Tensor = self._file.handle.get_slice(self._name)[index]
        return rows


def save_checkpoint(folder: str | Path | None, checkpoint: Checkpoint[Whole]) -> None:
    """Writes the checkpoint, whole or not at all; all processes must call this.

    Args:
        folder: where the process of rank 0 writes it; None in the others, which send their parts.
        checkpoint: its pieces are used up.

    Raises:
        StorageError: it cannot be written.
    """
    wholes = {f"model.{name}": whole for name, whole in checkpoint.model.items()} | {
        f"optimizer.{number}.{name}": whole
        for number, state in checkpoint.optimizer.items()
        for name, whole in state.items()
    }
    pieces = chain.from_iterable(whole.pieces for whole in wholes.values())
    try:
        if folder is not None:
            _write(Path(folder), _header(checkpoint, wholes), pieces)
    finally:
        deque(pieces, maxlen=0)  # after an error too: the other processes wait for this one


def _write(folder: Path, header: bytes, pieces: Iterator[Tensor]) -> None:
    digest = hashlib.sha256(header)
    with writing(folder / FILE_NAME) as file:
        file.write(header)
        for piece in pieces:
            content = piece.reshape(-1).view(torch.uint8).numpy().data
            file.write(content)
            digest.update(content)
    write_file(folder / DIGEST_NAME, digest.hexdigest().encode())


def _header(checkpoint: Checkpoint[Whole], wholes: Mapping[str, Whole]) -> bytes:
    """The format's: a length, and JSON that says where each tensor lies behind it."""
    rest = {name: getattr(checkpoint, name) for name in ("epoch", "figures", "scaler")}
    entries: dict[str, Any] = {"__metadata__": {"checkpoint": json.dumps(rest)}}
    start = 0
    for name, whole in wholes.items():
        end = start + torch.Size(whole.shape).numel() * whole.dtype.itemsize
        entries[name] = {
            "dtype": _DTYPES[whole.dtype],
            "shape": list(whole.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return struct.pack("<Q", len(text)) + text


def load_checkpoint(folder: str | Path) -> Checkpoint[Rows]:
    """Opens a checkpoint without running any code that may be in it.

    Its tensors are read when they are asked for, until it is closed; the file may be gone by then.

    Raises:
        StorageError: it is missing, damaged, or not a checkpoint.
    """
    path = Path(folder) / FILE_NAME
    if (Path(folder) / EARLIER_NAME).exists():
        raise StorageError(
            f"{path.with_name(EARLIER_NAME)}: a checkpoint of an earlier version of sigdca: "
            "finish the run with that one, or begin it anew without --resume"
        )
    try:
        found, digest = _digest(path), (Path(folder) / DIGEST_NAME).read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: not a checkpoint: {error.strerror}") from error
    if found != digest:
        raise StorageError(f"{path}: damaged: it has not the sha256 that {DIGEST_NAME} says")
    try:
        return _opened(path)
    except Exception as error:  # safetensors raises several kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{path}: not a checkpoint: {reason}") from error


def _opened(path: Path) -> Checkpoint[Rows]:
    file = StoredTensors(path)
    model: dict[str, Rows] = {}
    optimizer: dict[int, dict[str, Rows]] = {}
    for name in file.handle.keys():  # noqa: SIM118  # it is no dict
        kind, _, inner = name.partition(".")
        if kind == "model":
            model[inner] = _Stored(file, name)
        else:
            number, _, key = inner.partition(".")
            optimizer.setdefault(int(number), {})[key] = _Stored(file, name)
    rest = json.loads(file.handle.metadata()["checkpoint"])
    return Checkpoint(rest["epoch"], model, optimizer, rest["figures"], rest["scaler"], file)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest().encode()
