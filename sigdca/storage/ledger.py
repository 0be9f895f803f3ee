"""The run's ledger: one small JSON file per test point, written once, never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sigdca.errors import StorageError
from sigdca.storage.store import Store


class Record(BaseModel):
    """What one box of the loop leaves behind.

    Attributes:
        number: place in the ledger, from 1.
        key: hash of all that determines the result; resume finds it by this.
        stage: which box of the loop (see `sigdca.loop.stages`).
        label: which pass or target, where a stage has several.
        iteration: how often the loop has come by here, from 1.
        status: `done`, or `device-required` where only a board can tell.
        duration_s: wall-clock seconds.
        metrics: figures, by name with unit suffix.
        artifact: sha256 of the weights or container that it left, if any.
        epochs: figures per epoch, for stages that train.
        seed: the job's seed.
        versions: of the libraries that took part.
        machine: what the driver ran on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    key: str
    stage: str
    label: str = ""
    iteration: int
    status: Literal["done", "device-required"] = "done"
    duration_s: float
    metrics: dict[str, Any] = {}
    artifact: str | None = None
    epochs: tuple[dict[str, Any], ...] = ()
    seed: int
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}


class Ledger:
    """All records of one run, in order."""

    def __init__(self, store: Store) -> None:
        """Opens the ledger of the run in `store`, and reads what is there."""
        self._store = store.child("ledger")
        self.records: list[Record] = [
            self._read(name) for name in self._store.names() if name.endswith(".json")
        ]

    @property
    def next_number(self) -> int:
        """Of the record to come: behind the last one, whatever is missing before it."""
        return max((record.number for record in self.records), default=0) + 1

    def find(self, key: str) -> list[Record]:
        """The records of a stage that was run to its end with exactly these inputs, newest first.

        There are several where an artifact was lost. One that found no device is not an end: there
        may be one next time.
        """
        found = (record for record in reversed(self.records) if record.key == key)
        return [record for record in found if record.status == "done"]

    def of(self, stage: str) -> list[Record]:
        """All records of one stage, in order."""
        return [record for record in self.records if record.stage == stage]

    def append(self, record: Record) -> None:
        """Writes a record; it is on disk, whole, when this returns."""
        name = f"{record.number:04d}-{record.stage}.json"
        text = json.dumps(record.model_dump(mode="json"), indent=1)
        self._store.write(name, text.encode())
        self.records.append(record)

    def _read(self, name: str) -> Record:
        try:
            return Record.model_validate_json(self._store.read(name))
        except ValidationError as error:
            path = self._store.path(name)
            reason = error.errors()[0]["msg"]
            raise StorageError(f"{path}: not a ledger record: {reason}") from error


def latest_with(records: Sequence[Record], stage: str, content: bytes) -> Record | None:
    """The latest record of a stage that left this content as its artifact."""
    digest = hashlib.sha256(content).hexdigest()
    found = (one for one in reversed(records) if (one.stage, one.artifact) == (stage, digest))
    return next(found, None)
