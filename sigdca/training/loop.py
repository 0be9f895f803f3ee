"""The training loop: epochs of SGD or Adam, in one process.

Parallelism is applied from outside: a strategy (`parallel.py`) wraps the model.
Compression is applied from outside: a hook holds masks or ties weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigdca.errors import DivergedError, SigdcaError
from sigdca.job.recipe import Optimisation
from sigdca.training.augment import augment_batch
from sigdca.training.checkpoint import Checkpoint
from sigdca.training.feed import feed_of
from sigdca.training.input import Input
from sigdca.training.meter import Meter, sent_bytes
from sigdca.training.optimizer import make_optimizer, set_learning_rate
from sigdca.training.parallel import Parallel, Place, Setting
from sigdca.training.speed import PLAIN, SpeedChoice, Way, compare
from sigdca.training.tensors import Rows, Whole

TELL_EVERY_S = 1.0
COMPARED_FROM = 200  # steps of a stage: comparing ways takes a few, and a second copy of the model


class Hook(Protocol):
    """What a compression pass does while the network is retrained."""

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Called before epoch `epoch` of `num_epochs` (from 0); may change the weights."""

    def after_backward(self, model: nn.Module) -> None:
        """Called between backward() and the optimizer's step; may change the gradients."""

    def after_step(self, model: nn.Module) -> None:
        """Called after the optimizer's step; may change the weights."""

    def after_last_step(self, model: nn.Module) -> None:
        """Called after an epoch's steps, before its sparsity is taken; may change the weights."""

    def after_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Called after epoch `epoch` of `num_epochs` (from 0); may change the weights."""


@dataclass(frozen=True)
class EpochFigures:
    """What one epoch reports.

    Attributes:
        epoch: from 1.
        loss: mean cross entropy over the images of all processes.
        images_per_s: over all processes.
        sparsity: share of zeros among all weights of two or more axes, at the epoch's end.
        input_s: seconds in which the process of rank 0 waited for images or changed them.
        compute_s: those in which it computed.
        communication_s: those in which it waited for the other processes.
        sent_bytes: what all processes sent by TCP, acknowledged; 0 where the system does not tell,
            as on GPUs.
        accuracy: percent of the images of all processes that the network knew when it was trained
            on them: augmented, and by weights that moved meanwhile. None: of an older version.
    """

    epoch: int
    loss: float
    images_per_s: float
    sparsity: float
    input_s: float = 0.0
    compute_s: float = 0.0
    communication_s: float = 0.0
    sent_bytes: int = 0
    accuracy: float | None = None


@dataclass(frozen=True)
class StepFigures:
    """How far an epoch has come.

    Attributes:
        epoch: from 1.
        step: steps done of the epoch's `num_steps`.
        num_steps: steps of an epoch.
        loss: of the last step's images, those of this process.
        images_per_s: over all processes, in this epoch so far.
        left_s: seconds until the last epoch's last step, at this epoch's rate so far.
    """

    epoch: int
    step: int
    num_steps: int
    loss: float
    images_per_s: float
    left_s: float


OnEpochEnd = Callable[[EpochFigures, Callable[[], Checkpoint[Whole]]], None]
OnStep = Callable[[StepFigures], None]
OnSpeed = Callable[[SpeedChoice], None]


def train_(
    model: nn.Module,
    data: Input,
    config: Optimisation,
    *,
    input_scale: float,
    batch_size: int,
    seed: int,
    precision: str = "float32",
    accumulation_steps: int = 1,
    compiled: bool = False,
    label_smoothing: float = 0.0,
    hook: Hook | None = None,
    place: Place | None = None,
    strategy: type[Parallel] = Parallel,
    options: Mapping[str, Any] | None = None,
    resume: Checkpoint[Rows] | None = None,
    on_epoch: OnEpochEnd = lambda *_: None,
    on_step: OnStep | None = None,
    on_speed: OnSpeed | None = None,
) -> list[EpochFigures]:
    """Trains the model in place.

    Args:
        model: takes float32 [n, C, H, W], gives logits [n, K].
        data: the images and their labels.
        config: epochs, optimizer, learning rate, augmentation.
        input_scale: what a pixel is multiplied by.
        batch_size: images per step over all processes; a multiple of their number times
            `accumulation_steps`. The last images of an epoch that do not fill a batch wait for
            another epoch.
        seed: with the epoch and the rank it determines order and augmentation.
        precision: `float32`, or `bf16` or `fp16`: torch's automatic mixed precision, channels
            last; the loss is scaled under fp16.
        accumulation_steps: parts in which a process computes its images of a step.
        compiled: by torch.compile.
        label_smoothing: share of each label that is spread over all classes (Szegedy et al., CVPR
            2016, section 7).
        hook: a compression pass at work, or None.
        place: this process's rank, world size and device.
        strategy: how the processes share the work.
        options: the settings of a library that the strategy uses.
        resume: continue after this checkpoint, and close it, as if never interrupted: with images
            in memory bit for bit, but that three or more processes may add gradients in another
            order.
        on_epoch: called after every epoch with its figures and a function that makes a checkpoint,
            which all processes must call and save before they return, or none.
        on_step: called every second or so, between two steps.
        on_speed: called with what `precision`, the layout that goes with it and `compiled` gain
            over plain float32, where they differ from it and the stage is long enough: measured on
            a copy of the model and this process's first images, before it begins; or with why it
            could not be measured, which does not end the training.

    Returns:
        The figures of every epoch, those before `resume` included.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    place = place or Place()
    model.to(place.device)
    layout = torch.preserve_format if precision == "float32" else torch.channels_last
    _lay_out_(model, layout)
    sample = torch.zeros(1, *data.input_shape, device=place.device)
    setting = Setting(
        place,
        sample,
        data.images_per_step(batch_size, place.world_size),
        hook is not None,
        precision,
        accumulation_steps,
        options or {},
    )
    parallel = strategy(model, lambda parameters: make_optimizer(parameters, config), setting)
    if compiled:
        parallel.module.compile()
    figures: list[EpochFigures] = []
    if resume is not None:
        parallel.load(resume.model, resume.optimizer)
        resume.close()
        if resume.scaler:
            parallel.scaler.load_state_dict(resume.scaler)
        figures = [EpochFigures(**figure) for figure in resume.figures]
    steps = data.num_images // batch_size
    if steps == 0:
        raise SigdcaError(
            f"train.batch_size: {batch_size}, but there are {data.num_images} images"
        )
    feed = feed_of(data, place)
    stage = _Stage(parallel, config, layout, hook, steps, on_step, label_smoothing)
    way = Way(precision, layout is torch.channels_last, compiled)
    if steps * (config.epochs - len(figures)) < COMPARED_FROM or not parallel.holds_whole:
        on_speed = None
    for epoch in range(len(figures), config.epochs):
        generator = torch.Generator().manual_seed(_mix(seed, epoch, place.rank))
        inputs: Iterator[tuple[Tensor, Tensor]] = (
            (augment_batch(pixels.float() * input_scale, config.augment, generator), classes)
            for pixels, classes in feed.batches(epoch, batch_size, seed)
        )
        if on_speed is not None and way != PLAIN:
            inputs, on_speed = _compared(inputs, model, way, accumulation_steps, on_speed), None
        figures.append(stage.epoch(epoch, inputs, _mix(seed, epoch)))

        def checkpoint(done: int = epoch + 1) -> Checkpoint[Whole]:
            kept = [asdict(figure) for figure in figures]
            return Checkpoint(done, *parallel.state(), kept, parallel.scaler.state_dict())

        on_epoch(figures[-1], checkpoint)
    parallel.finish()
    if layout is torch.channels_last:
        _lay_out_(model, torch.contiguous_format)
    return figures


def _compared(
    inputs: Iterator[tuple[Tensor, Tensor]],
    model: nn.Module,
    way: Way,
    num_parts: int,
    on_speed: OnSpeed,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same inputs, after two ways of computing were compared on the first of them."""
    first = next(inputs)
    images, labels = (tensor.tensor_split(num_parts)[0] for tensor in first)
    on_speed(compare(model, images, labels, way))
    return chain([first], inputs)


class _Stage:
    """The epochs of one stage."""

    def __init__(
        self,
        parallel: Parallel,
        config: Optimisation,
        layout: torch.memory_format,
        hook: Hook | None,
        num_steps: int,
        on_step: OnStep | None,
        label_smoothing: float,
    ) -> None:
        self._label_smoothing = label_smoothing
        self._parallel, self._config, self._layout = parallel, config, layout
        self._hook, self._num_steps, self._on_step = hook, num_steps, on_step
        self._meter = Meter(parallel.place)
        # Of each image of the epoch, whether it was known; where the model is, as the loss.
        self._known: list[Tensor] = []

    def epoch(
        self, epoch: int, inputs: Iterable[tuple[Tensor, Tensor]], seed: int
    ) -> EpochFigures:
        """All steps of epoch `epoch` (from 0)."""
        parallel, hook, config = self._parallel, self._hook, self._config
        start, sent = time.monotonic(), sent_bytes(parallel.place.device)
        if hook is not None:
            with parallel.weights() as whole:
                hook.before_epoch(whole, epoch, config.epochs)
        parallel.module.train()
        parallel.seed_epoch(seed)
        total = torch.zeros((), dtype=torch.float64, device=parallel.place.device)
        told = start
        for step, (pixels, classes) in enumerate(self._meter.inputs(inputs)):
            set_learning_rate(
                parallel.optimizer,
                config,
                epoch * self._num_steps + step,
                config.epochs * self._num_steps,
            )
            with self._meter.step(step):
                loss = self._step(pixels, classes)
            total += loss
            if self._on_step is not None and time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                self._on_step(self._done(epoch, step + 1, loss, told - start))
        if hook is not None:
            with parallel.weights() as whole:
                hook.after_last_step(whole)
        sparsity = parallel.sparsity()
        if hook is not None:
            with parallel.weights() as whole:
                hook.after_epoch(whole, epoch, config.epochs)
        mean = parallel.mean(total / self._num_steps)
        if not math.isfinite(mean):
            raise DivergedError(
                f"epoch {epoch + 1}: the loss is {mean}; "
                f"try a learning_rate below {config.learning_rate}"
            )
        duration_s = time.monotonic() - start
        rate = self._num_steps * parallel.setting.batch_size / duration_s
        # A connection that was closed takes its count along.
        here = max(0, sent_bytes(parallel.place.device) - sent)
        sent = round(parallel.total(torch.tensor(here, dtype=torch.float64)))
        split = self._meter.split(duration_s)
        accuracy = self._accuracy()
        return EpochFigures(
            epoch + 1, mean, rate, sparsity, sent_bytes=sent, accuracy=accuracy, **split
        )

    def _done(self, epoch: int, steps: int, loss: Tensor, elapsed_s: float) -> StepFigures:
        """What is told of epoch `epoch` (from 0) after so many of its steps."""
        left = (self._config.epochs - epoch) * self._num_steps - steps
        return StepFigures(
            epoch + 1,
            steps,
            self._num_steps,
            float(loss),
            images_per_s=steps * self._parallel.setting.batch_size / elapsed_s,
            left_s=left * elapsed_s / steps,
        )

    def _accuracy(self) -> float:
        """Percent of the epoch's images that were known, over all processes.

        Whole numbers are added up, so a strategy whose processes all see every image gives the
        same.
        """
        known = torch.cat(self._known)
        self._known.clear()
        total = self._parallel.total
        return 100 * total(known.sum()) / total(torch.tensor(len(known)))

    def _step(self, pixels: Tensor, classes: Tensor) -> Tensor:
        """One step of the optimizer; gives this process's term of the mean loss.

        Where the processes' shares are not alike, an image counts the same in each. Notes which
        images were known.
        """
        parallel, hook = self._parallel, self._hook
        num_parts = parallel.setting.accumulation_steps
        dtype = parallel.setting.autocast
        each = parallel.place.world_size / parallel.setting.batch_size
        # Where the model is: to ask a GPU for each step's loss would make it wait for us.
        total = torch.zeros((), dtype=torch.float64, device=parallel.place.device)
        parallel.zero_grad()
        parts = zip(pixels.tensor_split(num_parts), classes.tensor_split(num_parts), strict=True)
        for number, (images, labels) in enumerate(parts, 1):
            with parallel.part(number == num_parts):
                with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
                    logits = parallel.module(images.to(memory_format=self._layout))
                wanted = parallel.labels(labels)
                self._known.append(logits.detach().argmax(1) == wanted)
                loss = F.cross_entropy(
                    logits.float(), wanted, label_smoothing=self._label_smoothing
                )
                loss = loss * (len(images) * each)
                parallel.backward(loss)
            total += loss.detach()
        if hook is not None:
            with parallel.gradients() as whole:
                hook.after_backward(whole)
        parallel.step()
        if hook is not None:
            with parallel.weights() as whole:
                hook.after_step(whole)
        return total


def _lay_out_(model: nn.Module, layout: torch.memory_format) -> None:
    """Brings the weights into another order in memory."""
    model.to(memory_format=layout)  # type: ignore[call-overload]  # documented, but not typed


def _mix(*numbers: int) -> int:
    """One well-spread seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
