"""Where a train leg's labelled samples come from, on the board that it runs on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sigdca.data import check_split, find_source, load
from sigdca.edge.acquired import ABOUT, Acquired
from sigdca.edge.train_leg import TrainLeg, run_train_leg, without_delta
from sigdca.edge.train_plan import Labelled, TrainConfig
from sigdca.errors import SigdcaError


def labelled_samples(where: str) -> Labelled:
    """The labelled samples of the acquire leg's store, or those that a data source trains on.

    Args:
        where: the store's folder; or what `sigdca test --data` takes.

    Raises:
        JobError: there is no such source, or it has nothing to train on.
        FormatError: what lies there is damaged.
        StorageError: it cannot be read.
    """
    if Path(where, ABOUT).is_file():
        return Labelled(*Acquired(Path(where)).labelled())
    check_split(find_source(where), "train")
    dataset = load(where, "train")
    return Labelled(dataset.images, dataset.labels.astype(np.int64))


def train_where_it_lies(model: bytes, where: str, config: TrainConfig) -> TrainLeg:
    """The train leg on the samples at a place on this machine.

    Whatever is wrong - no samples, no torch, no memory - becomes a leg without a delta, with its
    reason: a leg never ends the loop.
    """
    try:
        samples = labelled_samples(where)
        return run_train_leg(model, samples.images, samples.labels, config)
    except SigdcaError as error:
        return without_delta(str(error))
