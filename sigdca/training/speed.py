"""How fast a network learns one way and another: whole steps on copies of it, in turns."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigdca.training.parallel import AUTOCAST

NUM_STEPS = 5  # of each way
LIMIT_S = 20.0  # after which no further round begins


@dataclass(frozen=True)
class Way:
    """How convolutions and FC layers are computed.

    Attributes:
        precision: `float32`, `bf16` or `fp16`.
        channels_last: activations and weights lie with their channels side by side.
        compiled: by torch.compile.
    """

    precision: str = "float32"
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        """As in `bf16, channels last, compiled`."""
        words = [] if self.precision == "float32" else [self.precision]
        words += ["channels last"] if self.channels_last else []
        words += ["compiled"] if self.compiled else []
        return ", ".join(words) or "plain float32"


PLAIN = Way()


@dataclass(frozen=True)
class SpeedChoice:
    """What a way of computing gained over plain float32.

    Attributes:
        way: as its text says.
        ratio: of the images per second, forward and backward, to plain float32's; None: they could
            not be compared.
        num_steps: of each, whose medians were taken.
        why_not: why they could not be compared.
    """

    way: str
    ratio: float | None
    num_steps: int
    why_not: str = ""

    def __str__(self) -> str:
        """One line for a report."""
        if self.ratio is None:
            return f"{self.way}: not compared with plain float32: {self.why_not}"
        steps = "one step" if self.num_steps == 1 else f"median of {self.num_steps} steps"
        return f"{self.way}: {self.ratio:.2f}x plain float32's images/s, {steps} each"


def compare(model: nn.Module, images: Tensor, labels: Tensor, way: Way) -> SpeedChoice:
    """Measures `way` against plain float32; see `step_times`.

    Where that fails, as for want of memory that plain float32 needs and `way` does not, the choice
    says so.
    """
    try:
        plain, chosen = step_times(model, images, labels, [PLAIN, way])
        ratio = statistics.median(plain) / statistics.median(chosen)
        return SpeedChoice(str(way), ratio, len(chosen))
    except RuntimeError as error:  # torch's own; its OutOfMemoryError is one
        why_not = str(error).partition("\n")[0] or type(error).__name__
    if images.is_cuda:
        torch.cuda.empty_cache()
    return SpeedChoice(str(way), None, 0, why_not)


def step_times(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    ways: Sequence[Way],
    num_steps: int = NUM_STEPS,
    limit_s: float = LIMIT_S,
) -> list[list[float]]:
    """Seconds of steps of each way, forward and backward, one of each in turn.

    The model and all random numbers stay as they are. Each copy takes a step that does not count
    first, in which memory is allocated and torch.compile compiles.

    Args:
        model: takes `images`, on their device.
        images: float32 [n, C, H, W].
        labels: int64 [n].
        ways: what to compare.
        num_steps: of each.
        limit_s: no further round begins after so many seconds; each way has one step at least.

    Returns:
        The seconds of each way, all of the same length.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        steps = [_Step(model, images, labels, way) for way in ways]
        for step in steps:
            step.seconds()
        times: list[list[float]] = [[] for _ in ways]
        start = time.perf_counter()
        for _ in range(num_steps):
            for found, step in zip(times, steps, strict=True):
                found.append(step.seconds())
            if time.perf_counter() - start > limit_s:
                break
    return times


class _Step:
    """Forward and backward of a copy of the model."""

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, way: Way) -> None:
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        self._model = copy.deepcopy(model).train()
        self._model.to(memory_format=layout)  # type: ignore[call-overload]  # not typed
        if way.compiled:
            self._model.compile()
        self._images, self._labels = images.to(memory_format=layout), labels
        self._dtype = AUTOCAST[way.precision]

    def seconds(self) -> float:
        """Of one step; its gradients are forgotten."""
        start = time.perf_counter()
        device, mixed = self._images.device.type, self._dtype is not None
        with torch.autocast(device, self._dtype) if mixed else contextlib.nullcontext():
            logits = self._model(self._images)
        F.cross_entropy(logits.float(), self._labels).backward()  # type: ignore[no-untyped-call]
        if device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        self._model.zero_grad(set_to_none=True)
        return elapsed
