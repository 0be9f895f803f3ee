"""Which of a board's frames are worth a person's time: the least certain, and no two alike."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.samples import NO_LABEL, Samples

WINDOW_FRAMES = 1000
BUFFER_BYTES = 16 << 20
ALIKE = 2.0  # grey levels, on average, of what is left of two images at 8 x 8 pixels
NUM_REMEMBERED = 256
_CELLS = 8


def margin_of(logits: NDArray[np.float32]) -> float:
    """By how much the most probable class is above the next, 0 to 1; of one class alone, 1."""
    if len(logits) < 2:
        return 1.0
    powers = np.exp(logits.astype(np.float64) - logits.max())
    second, first = np.partition(powers, -2)[-2:]
    return float((first - second) / powers.sum())


@dataclass(frozen=True)
class Rules:
    """What is chosen.

    Attributes:
        margin: only what is less certain than this.
        share: of all frames that were looked at, at most.
    """

    margin: float = 0.5
    share: float = 0.05


@dataclass(frozen=True, order=True)
class _Kept:
    """A frame of the window; the one of least doubt comes first, to make room."""

    doubt: float
    number: int
    image: NDArray[np.uint8]
    time_s: float
    found: int
    label: int
    model: str


class Chooser:
    """Looks at frames one by one, and keeps the best of a window.

    A window is `WINDOW_FRAMES`, fewer where those chosen would take more than `BUFFER_BYTES`, but
    never so few that their share is not one whole frame.
    """

    def __init__(self, rules: Rules, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Begins a window."""
        self._rules, self._buffer_bytes = rules, buffer_bytes
        self._kept: list[_Kept] = []
        self._remembered: NDArray[np.float32] | None = None  # the last ones kept, one a row
        self._num_remembered = 0
        self._num_frames = self._num_before = 0  # of this window, of those before
        self._length = WINDOW_FRAMES

    @property
    def is_full(self) -> bool:
        """Whether the window is at its end."""
        return self._num_frames >= self._length and self._allowed > 0

    def look(
        self,
        image: NDArray[np.uint8],
        logits: NDArray[np.float32],
        time_s: float,
        model: str,
        label: int = NO_LABEL,
    ) -> None:
        """Looks at a frame.

        Args:
            image: uint8 [C, H, W], which may change afterwards.
            logits: what the model gives for it.
            time_s: when it arrived.
            model: sha256 of the container.
            label: what it is, if that is known.
        """
        if not self._num_frames:
            fits = self._buffer_bytes / (image.size * self._rules.share)
            self._length = max(1, min(WINDOW_FRAMES, int(fits)))
        self._num_frames += 1
        margin = margin_of(logits)
        if not margin <= self._rules.margin:
            return
        room = len(self._kept) < math.ceil(self._rules.share * self._length)
        if not room and margin >= -self._kept[0].doubt:
            return
        if self._is_known(shrunk(image)):
            return
        found = int(np.argmax(logits))
        kept = _Kept(-margin, self._num_frames, image.copy(), time_s, found, label, model)
        if room:
            heapq.heappush(self._kept, kept)
        else:
            heapq.heapreplace(self._kept, kept)

    def end(self) -> Samples | None:
        """Ends the window, whether or not it is full: what was chosen, oldest first.

        One in which no frame may be chosen yet goes on.
        """
        if not self._allowed:
            return None
        best = heapq.nlargest(self._allowed, self._kept)
        best.sort(key=lambda kept: kept.number)
        self._num_before += self._num_frames
        self._kept, self._num_frames = [], 0
        if not best:
            return None
        return Samples(
            images=np.stack([kept.image for kept in best]),
            times_s=np.array([kept.time_s for kept in best]),
            classes=np.array([kept.found for kept in best], np.int64),
            margins=np.array([-kept.doubt for kept in best], np.float32),
            labels=np.array([kept.label for kept in best], np.int64),
            models=np.array([kept.model for kept in best], np.str_),
        )

    @property
    def _allowed(self) -> int:
        """How many of the window may be chosen: over all windows, never more than the share."""
        share, before = self._rules.share, self._num_before
        return math.floor(share * (before + self._num_frames)) - math.floor(share * before)

    def _is_known(self, small: NDArray[np.float32]) -> bool:
        """Whether one like it was kept not long ago; if not, it is remembered."""
        if self._remembered is None:
            self._remembered = np.full((NUM_REMEMBERED, small.size), np.inf, np.float32)
        if np.abs(self._remembered - small).mean(axis=1).min() < ALIKE:
            return True
        self._remembered[self._num_remembered % NUM_REMEMBERED] = small
        self._num_remembered += 1
        return False


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is left of an image in grey at 8 x 8 pixels, or as many as it has: float32 [n]."""
    grey: NDArray[np.float32] = image.mean(axis=0, dtype=np.float32)
    for axis in (0, 1):
        size = grey.shape[axis]
        edges = np.linspace(0, size, min(_CELLS, size) + 1).astype(int)
        lengths = np.diff(edges).astype(np.float32)
        sums = np.add.reduceat(grey, edges[:-1], axis=axis)
        grey = (sums / (lengths[:, np.newaxis] if axis == 0 else lengths)).astype(np.float32)
    return grey.ravel()
