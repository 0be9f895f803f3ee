"""How an epoch's images reach the device that computes.

A GPU must not wait for them. It keeps the whole data set where that fits; otherwise a thread reads
and copies the next batches while the network computes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from sigdca.training.input import Batch, InMemory, Input
from sigdca.training.parallel import Place

RESIDENT_SHARE = 0.25  # of a GPU's free memory that a data set may take
BATCHES_AHEAD = 2

Images = tuple[Tensor, Tensor]
Item = TypeVar("Item")
Other = TypeVar("Other")


class Feed(Protocol):
    """Gives the batches of `Input.batches` as tensors on a process's device."""

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[Images]:
        """One epoch's batches, as far as they are this process's: uint8 images, int64 labels."""
        ...


def feed_of(data: Input, place: Place) -> Feed:
    """The way for a device: the same images in the same order, whichever it is."""
    if torch.device(place.device).type != "cuda":
        return Direct(data, place)
    if isinstance(data, InMemory):
        free, _ = torch.cuda.mem_get_info(place.device)
        if data.images.nbytes <= RESIDENT_SHARE * free:
            return Resident(data, place)
    return Ahead(data, place)


class Direct:
    """For a processor: the batches as they are read, without a copy."""

    def __init__(self, data: Input, place: Place) -> None:
        self._data, self._place = data, place

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[Images]:
        """See `Feed`."""
        for images, labels in self._data.batches(epoch, batch_size, seed, self._place):
            device = self._place.device
            yield torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)


class Resident:
    """The whole data set on the device; an epoch sends no more than its order."""

    def __init__(self, data: InMemory, place: Place) -> None:
        self._data, self._place = data, place
        self._images = torch.from_numpy(data.images).to(place.device)
        self._labels = torch.from_numpy(data.labels).to(place.device, torch.int64)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[Images]:
        """See `Feed`."""
        for mine in self._data.choices(epoch, batch_size, seed, self._place):
            chosen = torch.from_numpy(mine).to(self._place.device)
            yield self._images[chosen], self._labels[chosen]


class Ahead:
    """A thread reads batches and copies them to the GPU beside the computation."""

    def __init__(self, data: Input, place: Place) -> None:
        self._data, self._place = data, place
        self._stream = torch.cuda.Stream(place.device)  # type: ignore[no-untyped-call]

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[Images]:
        """See `Feed`."""
        read = self._data.batches(epoch, batch_size, seed, self._place)
        for images, labels, copied in ahead(read, self._copy):
            stream = torch.cuda.current_stream(self._place.device)
            stream.wait_event(copied)
            # Their memory belongs to the other stream, which must not use it again too early.
            images.record_stream(stream)
            labels.record_stream(stream)
            yield images, labels

    def _copy(self, batch: Batch) -> tuple[Tensor, Tensor, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):
            images, labels = (
                torch.from_numpy(array).pin_memory().to(self._place.device, non_blocking=True)
                for array in batch
            )
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        return images, labels, copied


def ahead(items: Iterable[Item], change: Callable[[Item], Other]) -> Iterator[Other]:
    """`change` of each item, `BATCHES_AHEAD` of them done before they are asked for, in a thread.

    What goes wrong there is raised here. The thread ends with the iterator, also when that is
    closed early.
    """
    done: queue.Queue[tuple[Other | None, BaseException | None]] = queue.Queue(BATCHES_AHEAD)
    closed = threading.Event()

    def put(item: Other | None, error: BaseException | None) -> bool:
        while not closed.is_set():
            try:
                done.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(change(item), None):
                    return
        except BaseException as error:
            put(None, error)
        else:
            put(None, None)

    thread = threading.Thread(target=work, name="sigdca-feed", daemon=True)
    thread.start()
    try:
        while True:
            item, error = done.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        closed.set()
        thread.join()
