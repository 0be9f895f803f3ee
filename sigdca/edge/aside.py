"""Frames that the real-time loop is not sure of, handed to an acquire leg in a process of its own.

A camera serves one program: whoever infers has its frames. The loop copies a frame and goes on; a
thread writes it to the leg's standard input. While the leg is slow, frames are not handed over.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.said import say
from sigdca.errors import StorageError

UNSURE = 2.2  # logits: the best class is less than 9 times as probable as the next
NUM_WAITING = 8
END_TIMEOUT_S = 30.0


def acquire_command(
    model: Path | None, device: Path | None, store: Path, private: bool
) -> list[str]:
    """The command line of the leg: a model's file, or a device."""
    where = [str(model)] if model is not None else ["--device", str(device)]
    command = [sys.executable, "-m", "sigdca", "edge", "acquire", *where, "--frames", "-"]
    return [*command, "--store", str(store), *(["--private"] if private else [])]


class Aside:
    """Takes frames from the loop, and never makes it wait.

    Attributes:
        skipped: frames that the leg had no time for.
    """

    def __init__(self, command: list[str]) -> None:
        """Starts the leg.

        Raises:
            StorageError: it cannot be started.
        """
        self.skipped = 0
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._gone = False
        # The package is found where this process has found it, however that was started.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self._leg = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
            )
        except OSError as error:
            raise StorageError(f"acquire: cannot be started: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write, name="acquire", daemon=True)
        self._thread.start()

    def offer(self, pixels: NDArray[np.uint8], logits: list[float], best: float) -> None:
        """Hands a frame over, if its class is in doubt.

        Args:
            pixels: of the frame; copied.
            logits: of its classes.
            best: the largest of them.
        """
        place = logits.index(best)
        after = logits[place + 1 :]
        second = max(max(logits[:place], default=-np.inf), max(after, default=-np.inf))
        if best - second > UNSURE or self._gone:
            return
        if self._waiting.qsize() >= NUM_WAITING:
            self.skipped += 1
            return
        self._waiting.put(pixels.tobytes())

    def close(self) -> None:
        """Lets the leg store what it has, for a while at most."""
        self._waiting.put(None)
        self._thread.join(END_TIMEOUT_S)
        assert self._leg.stdin is not None
        with contextlib.suppress(OSError):
            self._leg.stdin.close()
        try:
            self._leg.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._leg.kill()
            self._leg.wait()

    def _write(self) -> None:
        assert self._leg.stdin is not None
        try:
            while (frame := self._waiting.get()) is not None:
                rest = memoryview(frame)
                while rest:
                    rest = rest[self._leg.stdin.write(rest) :]
        except OSError:
            self._gone = True
            say("infer: its acquire leg has ended; no more frames are kept")
