"""The table of data sources, and the two verbs on it: `fetch` and `load`."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from sigdca.data.cache import cached_path, prepare_folder, read_cached, write_cached
from sigdca.data.cifar10 import CIFAR10
from sigdca.data.dataset import Dataset, Progress, Source
from sigdca.data.imported import check_split, is_address, open_imported
from sigdca.data.mnist import MNIST
from sigdca.errors import FormatError, JobError, StorageError

SOURCES: dict[str, Source] = {source.name: source for source in (MNIST, CIFAR10)}

_log = logging.getLogger(__name__)


def find_source(name: str) -> Source:
    """The source of that name, or the data set at that address.

    Args:
        name: a key of `SOURCES`; or a path or pyarrow address, which has a `/`.

    Raises:
        JobError: there is none; the message has the nearest name.
        FormatError: the data set's manifest is damaged.
        StorageError: the address cannot be read.
    """
    if is_address(name):
        return open_imported(name).source
    return _known(name)


def _known(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f"known sources are {', '.join(SOURCES)}; a folder is written ./{name}"
    if near:
        hint = f"did you mean '{near[0]}'?"
    raise JobError(f"data: unknown source '{name}'; {hint}")


def fetch(name: str, progress: Progress | None = None) -> dict[str, Path]:
    """Makes sure that every split of a source is on this machine, whole and verified.

    Splits that are there already are not downloaded again; a damaged one is replaced. Several
    processes may do this at once.

    Args:
        name: a key of `SOURCES`.
        progress: told of every download as it goes on.

    Returns:
        The Parquet file of each split.

    Raises:
        JobError: the source is unknown.
        StorageError: it could not be fetched, verified or kept; nothing half-written is left.
    """
    if is_address(name):
        raise JobError(f"data: {name}: an address is read where it lies; there is nothing to get")
    source = _known(name)
    assert source.obtain is not None
    paths = {split: cached_path(source, split) for split in source.splits}
    missing = [split for split in source.splits if _read(source, split) is None]
    if missing:
        prepare_folder(next(iter(paths.values())).parent)
        for split, (dataset, origin) in source.obtain(missing, progress).items():
            digest = dataset.sha256()
            if digest != source.splits[split].sha256:
                expected = source.splits[split].sha256
                raise StorageError(
                    f"{name}: {split} from {origin} has sha256 {digest}, must be {expected}"
                )
            write_cached(source, split, dataset, origin)
    return paths


def load(name: str, split: str, at_most: int | None = None) -> Dataset:
    """The first images of a split of a source; of a built-in one, from this machine's copy.

    Args:
        name: a key of `SOURCES`, fetched first if it is not here; or an address.
        split: `train` or `test`.
        at_most: how many images; None: all.

    Raises:
        JobError: the source or the split is unknown.
        FormatError: an imported data set is damaged.
        StorageError: it could not be fetched, verified, kept or read.
    """
    if is_address(name):
        imported = open_imported(name)
        check_split(imported.source, split)
        return imported.head(split, at_most)
    source = _known(name)
    check_split(source, split)
    dataset = _load(source, split)
    return dataset if at_most is None else dataset.head(at_most)


def _load(source: Source, split: str) -> Dataset:
    dataset = _read(source, split)
    if dataset is None:
        path = fetch(source.name)[split]
        dataset = read_cached(source, split)
        if dataset is None:
            raise StorageError(f"{path}: was removed right after it had been fetched; try again")
    return dataset


def _read(source: Source, split: str) -> Dataset | None:
    try:
        return read_cached(source, split)
    except FormatError as error:
        _log.warning("%s; fetching it again", error)
        return None
