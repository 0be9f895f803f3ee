"""TensorBoard's hparams: one small event file per trial, beside the curves of its stages."""

from __future__ import annotations

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from sigdca.search import Study, TrialRecord
from sigdca.storage import Store

FOLDER = "hparams"


class HparamFiles:
    """Watches a study for `tensorboard --logdir STUDY`; needs a local disk."""

    def __init__(self, store: Store) -> None:
        """Writes into the study's folder."""
        self._store = store

    def __call__(self, study: Study, record: TrialRecord) -> None:
        """Writes a trial's parameters and figures when it has ended."""
        last = record.last
        if record.ended is None or last is None or not self._store.is_local:
            return
        parameters = {
            path: value if isinstance(value, bool | int | float | str) else str(value)
            for path, value in record.values.items()
        }
        parameters |= {"trial": record.number, "share of epochs": last.share}
        figures = {f"trial/{name}": value for name, value in last.figures.items()}
        place = self._store.child(FOLDER).path(f"{record.number:04d}")
        with SummaryWriter(place) as writer:
            for summary in hparams(parameters, figures):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)
            for name, value in figures.items():
                writer.add_scalar(name, value)
