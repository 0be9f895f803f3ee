"""What leaves a board: samples, if they may; and the deltas of its train leg.

    boards/BOARD/samples/SHA256.parquet     samples, as in the board's own store
    boards/BOARD/deltas/SHA256.dcd          what a train leg has found

A file's name is its content's hash: sent twice, it is there once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.acquired import BOARD, Acquired
from sigdca.edge.samples import Samples, dump_samples, ids_of, joined, keys_of
from sigdca.errors import JobError
from sigdca.storage import Store, open_store

FILE_PIXEL_BYTES = 32 << 20  # of the images of one file
MAX_DELTA_BYTES = 1 << 20
_MARK = np.dtype("<u8")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: labels change all bits


@dataclass(frozen=True)
class Sent:
    """What was sent: so many samples, in so many bytes."""

    samples: int
    bytes: int


def send_samples(store: Acquired, to: str, *, unlabelled: bool = False) -> Sent:
    """Sends the samples with labels that were not sent yet, or not with this label.

    Args:
        store: the board's.
        to: the address where its servers look.
        unlabelled: send those without labels too.

    Raises:
        JobError: the store is private.
        StorageError: the place cannot be written; what was sent is not sent again.
    """
    refuse_private(store)
    there = open_store(to)
    place = there.root if there.is_local else _place_of(to)
    note = f"sent-{hashlib.sha256(place.encode()).hexdigest()[:16]}.bin"
    sent = _read_sent(store, note)
    new: list[Samples] = []
    for _, samples in store.read():
        marks = _marks(samples)
        wanted = ~np.isin(marks, sent) & (samples.is_labelled | unlabelled)
        if wanted.any():
            new.append(samples.take(wanted))
    total = Sent(0, 0)
    if not new:
        return total
    samples = joined(new)
    step = max(1, FILE_PIXEL_BYTES // samples.images[0].size)
    for start in range(0, len(samples), step):
        some = samples.take(slice(start, start + step))
        content = dump_samples(some)
        name = f"boards/{store.about.board}/samples/{hashlib.sha256(content).hexdigest()}.parquet"
        there.write(name, content)
        sent = np.concatenate([sent, _marks(some)])
        store.store.write(note, sent.tobytes())
        total = Sent(total.samples + len(some), total.bytes + len(content))
    return total


def send_delta(board: str, delta: bytes, to: Store) -> str:
    """Sends what a train leg has found; of private samples too, as it holds none of them.

    Returns:
        Its name there.

    Raises:
        JobError: it is larger than a delta may be, or the board has no name.
        StorageError: the place cannot be written.
    """
    if len(delta) > MAX_DELTA_BYTES:
        raise JobError(f"delta: {len(delta)} bytes, at most {MAX_DELTA_BYTES}")
    if not BOARD.match(board):
        raise JobError(f"board: must be a name of letters, digits and ._-, got '{board[:60]}'")
    name = f"boards/{board}/deltas/{hashlib.sha256(delta).hexdigest()}.dcd"
    to.write(name, delta)
    return name


def refuse_private(store: Acquired) -> None:
    """Makes sure that samples may leave the board.

    Raises:
        JobError: they may not.
    """
    if store.about.private:
        raise JobError(
            f"{store.root}: is private: its samples never leave this board; "
            "`sigdca edge train` learns from them here, and its delta may be sent (--delta)"
        )


def _place_of(address: str) -> str:
    """Which place an address means, whoever asks there and however it is written."""
    parts = urlsplit(address)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    endpoints = parse_qs(parts.query).get("endpoint_override", [])
    return "?endpoint_override=".join([place, *endpoints])


def _marks(samples: Samples) -> NDArray[np.uint64]:
    """One number for a sample with its label."""
    labels = (samples.labels + 1).astype(np.uint64) * _SPREAD
    return (keys_of(ids_of(samples.images)) ^ labels).astype(_MARK)


def _read_sent(store: Acquired, note: str) -> NDArray[np.uint64]:
    """What was sent before; a damaged note is as good as none, as servers know what they have."""
    if not store.store.exists(note):
        return np.empty(0, _MARK)
    content = store.store.read(note)
    return np.frombuffer(content[: len(content) // 8 * 8], _MARK)
