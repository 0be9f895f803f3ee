"""A run's way through the loop: which test points of its ledger its job has come by."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from sigdca.errors import StorageError
from sigdca.storage.ledger import Ledger, Record
from sigdca.storage.store import Store

NAME = "walk.json"


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[int, ...] = ()
    ended: bool = False


class Walk:
    """The test points that a run's job has come by since it began, done then or found done.

    The ledger beside it is of all that was ever done in the folder, by other settings too.
    """

    def __init__(self, store: Store) -> None:
        """Opens the walk of the run in `store`.

        Raises:
            StorageError: its file is damaged, or cannot be read.
        """
        self._store = store
        self._content: _Content | None = None  # of a run from before there were walks
        if store.exists(NAME):
            try:
                self._content = _Content.model_validate_json(store.read(NAME))
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise StorageError(f"{store.path(NAME)}: not of a run: {reason}") from error

    @property
    def ended(self) -> bool:
        """Whether the job came to its end; True where nobody wrote it down."""
        return self._content is None or self._content.ended

    def begin(self) -> None:
        """The job begins, or goes on, at the loop's first box."""
        self._write(_Content())

    def add(self, record: Record) -> None:
        """The job has come by a test point, which is in the ledger."""
        now = self._content or _Content()
        if record.number not in now.points:
            self._write(now.model_copy(update={"points": (*now.points, record.number)}))

    def end(self) -> None:
        """The job has come to its end."""
        self._write((self._content or _Content()).model_copy(update={"ended": True}))

    def of(self, ledger: Ledger) -> list[Record]:
        """The test points, in order; all of the ledger's where nobody wrote it down."""
        if self._content is None:
            return list(ledger.records)
        records = {record.number: record for record in ledger.records}
        return [records[number] for number in self._content.points if number in records]

    def _write(self, content: _Content) -> None:
        self._store.write(NAME, content.model_dump_json().encode())
        self._content = content
