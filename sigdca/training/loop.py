"""The training loop: epochs of SGD or Adam over images in memory, in one process.

Parallelism is applied from outside: a strategy (`parallel.py`) wraps the model.
Compression is applied from outside: a hook holds masks or ties weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigdca.errors import SigdcaError
from sigdca.job.schema import Optimisation
from sigdca.training.augment import augment_batch
from sigdca.training.checkpoint import Checkpoint
from sigdca.training.parallel import Parallel, Place, Setting


class Hook(Protocol):
    """What a compression pass does while the network is retrained."""

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Called before epoch `epoch` of `num_epochs` (from 0); may change the weights."""

    def after_backward(self, model: nn.Module) -> None:
        """Called between backward() and the optimizer's step; may change the gradients."""

    def after_step(self, model: nn.Module) -> None:
        """Called after the optimizer's step; may change the weights."""

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
    """

    epoch: int
    loss: float
    images_per_s: float
    sparsity: float


def train_(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    config: Optimisation,
    *,
    input_scale: float,
    batch_size: int,
    seed: int,
    precision: str = "float32",
    hook: Hook | None = None,
    place: Place | None = None,
    strategy: type[Parallel] = Parallel,
    options: Mapping[str, Any] | None = None,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[EpochFigures, Callable[[], Checkpoint]], None] = lambda *_: None,
) -> list[EpochFigures]:
    """Trains the model in place.

    Args:
        model: takes float32 [n, C, H, W], gives logits [n, K].
        images: uint8 [N, C, H, W], the same in every process.
        labels: uint8 or int64 [N].
        config: epochs, optimizer, learning rate, augmentation.
        input_scale: what a pixel is multiplied by.
        batch_size: images per step over all processes; a multiple of their number. The last
            images of an epoch that do not fill a batch wait for another epoch.
        seed: with the epoch and the rank it determines order and augmentation.
        precision: `float32`, or `bf16`: torch's automatic mixed precision, channels last.
        hook: a compression pass at work, or None.
        place: this process's rank, world size and device.
        strategy: how the processes share the work.
        options: the settings of a library that the strategy uses.
        resume: continue after this checkpoint, as if never interrupted: bit for bit, but that
            three or more processes may add gradients in another order.
        on_epoch: called after every epoch with its figures and a function that makes a checkpoint,
            which all processes must call, or none.

    Returns:
        The figures of every epoch, those before `resume` included.

    Raises:
        SigdcaError: the loss is no longer finite (diverged).
    """
    place = place or Place()
    model.to(place.device)
    mixed = precision == "bf16"
    layout = torch.channels_last if mixed else torch.preserve_format
    _lay_out_(model, layout)
    sample = torch.zeros(1, *images.shape[1:], device=place.device)
    setting = Setting(place, sample, batch_size, hook is not None, mixed, options or {})
    parallel = strategy(model, lambda parameters: _optimizer(parameters, config), setting)
    figures: list[EpochFigures] = []
    if resume is not None:
        parallel.load(resume.model, resume.optimizer)
        figures = [EpochFigures(**figure) for figure in resume.figures]
    steps = len(images) // batch_size
    if steps == 0:
        raise SigdcaError(f"train.batch_size: {batch_size}, but there are {len(images)} images")
    for epoch in range(len(figures), config.epochs):
        start = time.monotonic()
        if hook is not None:
            with parallel.weights() as whole:
                hook.before_epoch(whole, epoch, config.epochs)
        parallel.module.train()
        parallel.seed_epoch(_mix(seed, epoch))
        batches = _batches(images, labels, batch_size, (seed, epoch), place)
        generator = torch.Generator().manual_seed(_mix(seed, epoch, place.rank))
        total = torch.zeros((), dtype=torch.float64)
        for step, (pixels, classes) in enumerate(batches):
            _set_learning_rate(
                parallel.optimizer, config, epoch * steps + step, config.epochs * steps
            )
            inputs = augment_batch(pixels.float() * input_scale, config.augment, generator)
            parallel.zero_grad()
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed):
                logits = parallel.module(inputs.to(memory_format=layout))
            loss = F.cross_entropy(logits.float(), parallel.labels(classes))
            parallel.backward(loss)
            if hook is not None:
                with parallel.gradients() as whole:
                    hook.after_backward(whole)
            parallel.step()
            if hook is not None:
                with parallel.weights() as whole:
                    hook.after_step(whole)
            total += loss.detach().cpu()
        sparsity = parallel.sparsity()
        if hook is not None:
            with parallel.weights() as whole:
                hook.after_epoch(whole, epoch, config.epochs)
        mean = parallel.mean(total / steps)
        if not math.isfinite(mean):
            raise SigdcaError(
                f"epoch {epoch + 1}: the loss is {mean}; "
                f"try a learning_rate below {config.learning_rate}"
            )
        rate = steps * batch_size / (time.monotonic() - start)
        figures.append(EpochFigures(epoch + 1, mean, rate, sparsity))

        def checkpoint(done: int = epoch + 1) -> Checkpoint:
            kept = [asdict(figure) for figure in figures]
            return Checkpoint(done, *parallel.state(), kept)

        on_epoch(figures[-1], checkpoint)
    parallel.finish()
    if mixed:
        _lay_out_(model, torch.contiguous_format)
    return figures


def _lay_out_(model: nn.Module, layout: torch.memory_format) -> None:
    """Brings the weights into another order in memory."""
    model.to(memory_format=layout)  # type: ignore[call-overload]  # documented, but not typed


def _optimizer(parameters: Iterable[nn.Parameter], config: Optimisation) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, config: Optimisation, step: int, num_steps: int
) -> None:
    """Grows in a straight line, if asked for; then cosine annealing to zero, or constant.

    Goyal et al. (arXiv 1706.02677), section 2.2; Loshchilov and Hutter (arXiv 1608.03983).
    """
    growing = config.warm_up * num_steps
    if step < growing:
        share = (step + 1) / (growing + 1)
    elif config.schedule_lr == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * (step - growing) / (num_steps - growing)))
    else:
        share = 1.0
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * share


def _batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, key: tuple[int, int], place: Place
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of every global batch, in an order that all processes agree on."""
    order = np.random.default_rng(key).permutation(len(images))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        mine = order[start + place.rank : start + batch_size : place.world_size]
        pixels = torch.from_numpy(images[mine]).to(place.device)
        classes = torch.from_numpy(labels[mine].astype(np.int64)).to(place.device)
        yield pixels, classes


def _mix(*numbers: int) -> int:
    """One well-spread seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
