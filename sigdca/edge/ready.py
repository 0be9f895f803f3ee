"""Models that are ready to run, and the change from one to the next between two frames."""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from sigdca.edge.metrics import Counts
from sigdca.edge.said import say
from sigdca.edge.update import Device, Health, Live
from sigdca.errors import EngineError, FormatError, JobError, SigdcaError, StorageError
from sigdca.native import Model, Session

POLL_S = 0.2
REPORT_S = 1.0


class Ready:
    """A model that was run already: no frame waits for memory to be touched.

    Attributes:
        shape: (C, H, W) of a frame.
        pixels: uint8 [1, C, H, W], where the frame goes.
        logits: float32 [1, K], where the result is.
        call: computes it.
        version: of the update that it came with; 0: of none.
        model: its name.
    """

    def __init__(
        self, source: Path | bytes, profile: str, threads: int, version: int, model: str
    ) -> None:
        """Opens a container.

        Raises:
            FormatError: it is not sound.
            EngineError: the library is missing, or refuses it.
        """
        session = Session(Model(source), profile=profile, threads=threads)
        info = session.model.info
        self.shape = info.input_shape
        self.pixels = np.zeros((1, *info.input_shape), np.uint8)
        self.logits = np.zeros((1, info.num_classes), np.float32)
        self.call = session.bind(self.pixels, self.logits)
        self.version, self.model = version, model
        for _ in range(2):
            self.call()


class Models(Protocol):
    """What computes the frames."""

    def current(self) -> Ready:
        """The one for the next frame.

        Raises:
            EngineError: it cannot be had while this process runs.
        """
        ...

    def uncount(self) -> None:
        """The start has failed, and not by the model: it does not count."""
        ...

    def watch(self) -> None:
        """Begins to look for updates, in a thread of its own."""
        ...

    def close(self) -> None:
        """Ends that."""
        ...


def open_models(options: argparse.Namespace, counts: Counts) -> Models:
    """One file's model, or a device's.

    Raises:
        JobError: neither or both are given.
        SigdcaError: there is none that can be run.
    """
    if (options.model is None) == (options.device is None):
        raise JobError("infer: give a MODEL.dca, or --device ROOT")
    if options.model is not None:
        model = Ready(options.model, options.profile, options.threads, 0, options.model.stem)
        return _OneModel(model)
    return DeviceModels(Device(options.device), options.profile, options.threads, counts)


class _OneModel:
    """A file's."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def current(self) -> Ready:
        return self._ready

    def uncount(self) -> None:
        """A file's starts are not counted."""

    def watch(self) -> None:
        """A file does not change."""

    def close(self) -> None:
        """Nothing goes on."""


class DeviceModels:
    """What is live on a device: follows updates, and reports how they do."""

    def __init__(self, device: Device, profile: str, threads: int, counts: Counts) -> None:
        """Starts what is live; one on trial that cannot even be opened is rolled back.

        Raises:
            SigdcaError: there is none that can be run.
        """
        self._device, self._profile, self._threads = device, profile, threads
        self._counts = counts
        live = device.start()
        try:
            ready = self._open(live)
        except (FormatError, EngineError) as error:
            if not live.on_trial:
                raise
            device.roll_back(live.manifest.version, str(error))
            ready = self._open(device.start())
        self._ready = self._next = ready
        self._changed = -1  # an update may have come since
        self._fault: EngineError | None = None
        self._stop = threading.Event()
        self._begin()

    def current(self) -> Ready:
        """See `Models.current`. Called between two frames: here the change happens."""
        if self._fault is not None:
            raise self._fault
        if self._next is not self._ready:
            self._ready = self._next
            self._counts.switches += 1
            self._begin()
            say(f"infer: version {self._ready.version} is running")
        return self._ready

    def uncount(self) -> None:
        """See `Models.uncount`."""
        with contextlib.suppress(StorageError):  # why the start has failed says more
            self._device.uncount(self._ready.version)

    def watch(self) -> None:
        """See `Models.watch`."""
        threading.Thread(target=self._watch, name="updates", daemon=True).start()

    def close(self) -> None:
        """See `Models.close`."""
        self._stop.set()

    def _begin(self) -> None:
        """The current version's frames count from here."""
        counts = self._counts
        self._since = time.monotonic(), counts.met, counts.late, counts.dropped

    def _watch(self) -> None:
        reported = time.monotonic()
        while not self._stop.wait(POLL_S):
            try:
                if time.monotonic() - reported >= REPORT_S:
                    reported = time.monotonic()
                    self._report()
                self._follow()
            except SigdcaError as error:
                say(f"infer: {error}")
                self._stop.wait(REPORT_S)

    def _report(self) -> None:
        began, met, late, dropped = self._since
        ready, counts = self._ready, self._counts
        health = Health(
            time.monotonic() - began,
            counts.met - met,
            counts.late - late,
            counts.dropped - dropped,
        )
        # The loop may have gone over to another version in between: these are not its figures.
        if self._next is ready and self._since[0] == began:
            self._device.report(ready.version, health)

    def _follow(self) -> None:
        """Opens what has become live, beside what is running."""
        state = self._device.state()
        if state.sequence == self._changed:
            return
        live = self._device.live()
        if live.manifest.version != self._next.version:
            live = self._device.start()
            try:
                self._next = self._open(live)
            except (FormatError, EngineError) as error:
                why = f"infer: version {live.manifest.version} cannot be run: {error}"
                if not live.on_trial:  # nothing is left to go over to: a new start may be better
                    self._fault = EngineError(why)
                    self.close()
                    return
                say(why)
                self._device.roll_back(live.manifest.version, str(error))
                return
        self._changed = state.sequence

    def _open(self, live: Live) -> Ready:
        manifest = live.manifest
        ready = Ready(
            live.container, self._profile, self._threads, manifest.version, manifest.model
        )
        wanted = self._ready.shape if hasattr(self, "_ready") else ready.shape
        if ready.shape != wanted:
            raise EngineError(f"frames are {wanted}, the model takes {ready.shape}")
        return ready
