"""What `run --watch` keeps: a folder a cycle, from which it goes on after any end.

| in the run's folder | |
| --- | --- |
| `watch/0000/end.json` | how the first run ended, which lies in the run's folder itself |
| `watch/0001/` | a run's folder: `job.yaml`, `ledger/`, `report.html`, `model.dca`, ... |
| `watch/0001/data/` | the new images of this cycle, a data set |
| `watch/0001/keys.bin` | which images these are |
| `watch/0001/cycle.json` | what the cycle is made of; with this, it has begun |
| `watch/0001/end.json` | how it ended; with this, it is over |
| `watch/artifacts/` | weights and containers that the next cycle needs |
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from sigdca.errors import StorageError
from sigdca.storage import Store

_KEYS = np.dtype("<u8")
_Kind = Literal["first", "data", "deltas"]


class Plan(BaseModel):
    """What a cycle is made of.

    Attributes:
        kind: new images, or deltas.
        names: of the files that it uses.
        num_images: how many images are new.
        arrived_s: when the last file came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: _Kind
    names: tuple[str, ...]
    num_images: int
    arrived_s: float


class CycleEnd(BaseModel):
    """How a cycle ended.

    Attributes:
        number: of the cycle; 0 is the first run.
        kind: what it was made of.
        num_images: how many images were new.
        accepted: whether its container is better than the one before, as far as the job asks.
        reason: why it was not accepted, or not released; empty if it was.
        weights: sha256 of the uncompressed weights; empty where it came to none.
        container: sha256 of the container; empty where it came to none.
        baseline_accuracy: of the uncompressed network, percent.
        error: of the container, percent.
        live_error: of the container that was live until then, on the same images.
        more: the new images among which it was tested.
        version: of the release; None: nothing was released.
        targets: whom the release is for.
        arrived_s: when the last of the new data came, seconds since 1970.
        ended_s: when the cycle ended.
        redeployment_s: from the data's arrival to the release; None without one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    kind: _Kind
    num_images: int = 0
    accepted: bool = False
    reason: str = ""
    weights: str = ""
    container: str = ""
    baseline_accuracy: float = 0.0
    error: float | None = None
    live_error: float | None = None
    more: tuple[str, ...] = ()
    version: int | None = None
    targets: tuple[str, ...] = ()
    arrived_s: float | None = None
    ended_s: float
    redeployment_s: float | None = None


_Model = TypeVar("_Model", Plan, CycleEnd)


class Cycles:
    """The cycles in a folder."""

    def __init__(self, store: Store) -> None:
        """Opens the folder `watch` of a run.

        Raises:
            StorageError: it cannot be read.
        """
        self.store = store
        self.ends: dict[int, CycleEnd] = {}
        self.plans: dict[int, Plan] = {}
        self._keys: dict[int, NDArray[np.uint64]] = {}
        for name in store.folders():
            if not name.isdecimal():
                continue
            if (plan := _read(store, f"{name}/cycle.json", Plan)) is not None:
                self.plans[int(name)] = plan
            if (end := _read(store, f"{name}/end.json", CycleEnd)) is not None:
                self.ends[int(name)] = end

    @property
    def used(self) -> set[str]:
        """The files that were used, whatever became of their cycle."""
        return {name for plan in self.plans.values() for name in plan.names}

    @property
    def unfinished(self) -> int | None:
        """The cycle that has begun and not ended."""
        return next((number for number in self.plans if number not in self.ends), None)

    @property
    def next(self) -> int:
        """The number of the next cycle."""
        return max([0, *self.plans, *self.ends]) + 1

    @property
    def live(self) -> CycleEnd | None:
        """The last one whose container was accepted."""
        accepted = [end for _, end in sorted(self.ends.items()) if end.accepted]
        return accepted[-1] if accepted else None

    def folder(self, number: int) -> Store:
        """The folder of a cycle."""
        return self.store.child(f"{number:04d}")

    def with_data(self, up_to: int) -> list[int]:
        """The cycles up to one that brought new images."""
        return [n for n, plan in sorted(self.plans.items()) if plan.kind == "data" and n <= up_to]

    def keys(self) -> NDArray[np.uint64]:
        """The keys of all images that were used.

        Raises:
            StorageError: they cannot be read.
        """
        for number in self.with_data(self.next):
            if number not in self._keys:
                content = self.folder(number).read("keys.bin")
                self._keys[number] = np.frombuffer(content, _KEYS)
        return np.concatenate([np.empty(0, _KEYS), *self._keys.values()])

    def begin(self, number: int, plan: Plan, keys: NDArray[np.uint64] | None = None) -> None:
        """Begins a cycle, whose data are there already. From here on they are used.

        Raises:
            StorageError: it cannot be written.
        """
        folder = self.folder(number)
        if keys is not None:
            folder.write("keys.bin", keys.astype(_KEYS).tobytes())
        folder.write("cycle.json", plan.model_dump_json(indent=1).encode())
        self.plans[number] = plan

    def finish(self, end: CycleEnd, *, of: Store | None) -> None:
        """Ends a cycle, once its artifacts that the next one needs are kept.

        Args:
            end: how it ended.
            of: where its artifacts are; None: it has none.

        Raises:
            StorageError: it cannot be written.
        """
        if of is not None:
            for digest in _digests(end):
                if not self.store.has(digest):
                    self.store.put(of.get(digest))
        self.folder(end.number).write("end.json", end.model_dump_json(indent=1).encode())
        self.ends[end.number] = end

    def clean(self, number: int) -> None:
        """Removes what a cycle that has ended leaves and no other needs any more.

        Weights are large, and cycles go on for ever. The first run's stay, as any run's do.

        Raises:
            StorageError: it cannot be removed.
        """
        if number:
            self.folder(number).remove("artifacts")
            self.folder(number).remove("checkpoints")
        needed = {one for end in (self.live, self.ends.get(0)) if end for one in _digests(end)}
        kept = self.store.child("artifacts")
        for name in kept.names():
            if name not in needed:
                kept.remove_file(name)


def _digests(end: CycleEnd) -> tuple[str, str]:
    return end.weights, end.container


def _read(store: Store, name: str, kind: type[_Model]) -> _Model | None:
    if not store.exists(name):
        return None
    try:
        return kind.model_validate_json(store.read(name))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise StorageError(f"{store.path(name)}: not of a cycle: {reason}") from error
