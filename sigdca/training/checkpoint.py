"""The state of a stage between two epochs, as one file that is safe to load."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sigdca.errors import StorageError
from sigdca.storage import write_file

FILE_NAME = "checkpoint.pt"
DIGEST_NAME = "checkpoint.sha256"


@dataclass(frozen=True)
class Checkpoint:
    """All that the next epoch depends on.

    Randomness needs no state here: each epoch draws from (seed, epoch, rank) anew.

    Attributes:
        epoch: epochs done.
        model: the model's state_dict.
        optimizer: the optimizer's state_dict.
        figures: what was reported of each epoch so far.
        scaler: the state_dict of what scales the loss under fp16.
    """

    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    figures: list[dict[str, Any]]
    scaler: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Writes the checkpoint into `folder`, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(vars(checkpoint), buffer)
    content = buffer.getvalue()
    write_file(Path(folder) / FILE_NAME, content)
    write_file(Path(folder) / DIGEST_NAME, _digest(content))


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Reads a checkpoint without running any code that may be in it.

    Raises:
        StorageError: it is missing, damaged, or not a checkpoint.
    """
    path = Path(folder) / FILE_NAME
    try:
        content, digest = path.read_bytes(), (Path(folder) / DIGEST_NAME).read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: not a checkpoint: {error.strerror}") from error
    if _digest(content) != digest:
        raise StorageError(f"{path}: damaged: it has not the sha256 that {DIGEST_NAME} says")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return Checkpoint(**found)
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{path}: not a checkpoint: {reason}") from error


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
