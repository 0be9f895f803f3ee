"""TensorBoard event files of a run: one folder a stage, written while it trains."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigdca.errors import StorageError
from sigdca.storage import Record, Store

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
# Figures of a stage's end that are worth a curve over the iterations.
END_FIGURES = ("error", "accuracy", "sparsity", "container_bytes", "compression_ratio")


class EventFiles:
    """Watches a run for `tensorboard --logdir RUN/tensorboard`.

    The files grow as epochs end: on the local disk where they are, elsewhere by a new copy.
    """

    def __init__(self, store: Store) -> None:
        """Writes into the folder `tensorboard` of a run."""
        self._store = store.child(FOLDER)
        self._name = ""
        self._writer: SummaryWriter | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """Opens a stage's file, if it is one with epochs.

        Raises:
            StorageError: it cannot be written.
        """
        self.close()
        if num_epochs:
            with self._told():
                self._open(stage_name(stage, label, iteration))

    def step(self, figures: Mapping[str, Any]) -> None:
        """Adds a step's loss and speed, over all steps of the stage."""
        if self._writer is None:
            return
        number = (figures["epoch"] - 1) * figures["num_steps"] + figures["step"]
        with contextlib.suppress(OSError):  # the stage's end tells of a full disk
            for name in ("loss", "images_per_s"):
                self._writer.add_scalar(f"step/{name}", figures[name], number)

    def note(self, line: str) -> None:
        """Adds the line to the stage's texts."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.add_text("note", line)

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """Adds an epoch's figures to the stage's curves."""
        if self._writer is None:
            return
        # Where the place cannot be written for a moment, training goes on: the whole file is
        # written again after the next epoch, and at the stage's end.
        with contextlib.suppress(OSError, StorageError):
            for name, value in figures.items():
                if name != "epoch" and value is not None:
                    self._writer.add_scalar(f"epoch/{name}", value, figures["epoch"])
            self._keep()

    def end(self, record: Record, reused: bool) -> None:
        """Adds what a stage came to, over the iterations.

        Raises:
            StorageError: the stage's events cannot be written.
        """
        try:
            with self._told():
                self._end(record, reused)
        finally:
            self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._store.root}: {error.strerror or error}") from error

    def _end(self, record: Record, reused: bool) -> None:
        known = record.metrics
        figures = {name: known[name] for name in END_FIGURES if known.get(name) is not None}
        if not reused and (figures or self._writer is not None):
            if self._writer is None:
                self._open(stage_name(record.stage, record.label, record.iteration))
            assert self._writer is not None
            for figure, value in figures.items():
                tag = "/".join(filter(None, (record.stage, record.label, figure)))
                self._writer.add_scalar(tag, value, record.iteration)
            self._keep()

    def close(self) -> None:
        """Ends the open file, if there is one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):  # the disk is full: whoever noticed it says so
                writer.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _open(self, name: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._name = name
        if self._store.is_local:
            self._writer = SummaryWriter(self._store.path(name))
            return
        self._folder = tempfile.TemporaryDirectory(prefix="sigdca-events-")
        self._writer = SummaryWriter(self._folder.name)

    def _keep(self) -> None:
        """Has the open file as it stands where the run lies."""
        assert self._writer is not None
        self._writer.flush()
        if self._folder is None:
            return
        for path in sorted(Path(self._folder.name).iterdir()):
            self._store.write(f"{self._name}/{path.name}", path.read_bytes())


def stage_name(stage: str, label: str, iteration: int) -> str:
    """As in `train-1` or `retrain-prune-2`."""
    return "-".join(filter(None, (stage, label, str(iteration))))
