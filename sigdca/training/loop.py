"""The training loop: epochs of SGD or Adam over images in memory, in one process.

Parallelism is applied from outside: a strategy wraps the model and gives this process its rank.
Compression is applied from outside: a hook holds masks or ties weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigdca.errors import SigdcaError
from sigdca.job.schema import Optimisation
from sigdca.training.augment import augment_batch
from sigdca.training.checkpoint import Checkpoint


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
        loss: mean cross entropy over this process's images.
        images_per_s: over all processes.
        sparsity: share of zeros among all weights of two or more axes, at the epoch's end.
    """

    epoch: int
    loss: float
    images_per_s: float
    sparsity: float


@dataclass(frozen=True)
class Place:
    """Which share of the work this process has."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"


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
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
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
        wrap: gives the model that computes the loss (DDP); the optimizer and the hook see `model`.
        resume: continue after this checkpoint, bit for bit as if never interrupted.
        on_epoch: called after every epoch with its figures and a function that makes a checkpoint.

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
    parallel = wrap(model)
    optimizer = _optimizer(model, config)
    figures: list[EpochFigures] = []
    if resume is not None:
        model.load_state_dict(resume.model)
        optimizer.load_state_dict(resume.optimizer)
        figures = [EpochFigures(**figure) for figure in resume.figures]
    steps = len(images) // batch_size
    if steps == 0:
        raise SigdcaError(f"train.batch_size: {batch_size}, but there are {len(images)} images")
    for epoch in range(len(figures), config.epochs):
        start = time.monotonic()
        if hook is not None:
            hook.before_epoch(model, epoch, config.epochs)
        model.train()
        batches = _batches(images, labels, batch_size, (seed, epoch), place)
        generator = torch.Generator().manual_seed(_mix(seed, epoch, place.rank))
        total = torch.zeros((), dtype=torch.float64)
        for step, (pixels, classes) in enumerate(batches):
            _set_learning_rate(optimizer, config, epoch * steps + step, config.epochs * steps)
            inputs = augment_batch(pixels.float() * input_scale, config.augment, generator)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed):
                logits = parallel(inputs.to(memory_format=layout))
            loss = F.cross_entropy(logits.float(), classes)
            loss.backward()  # type: ignore[no-untyped-call]
            if hook is not None:
                hook.after_backward(model)
            optimizer.step()
            if hook is not None:
                hook.after_step(model)
            total += loss.detach().cpu()
        sparsity = _sparsity(model)
        if hook is not None:
            hook.after_epoch(model, epoch, config.epochs)
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise SigdcaError(
                f"epoch {epoch + 1}: the loss is {mean}; "
                f"try a learning_rate below {config.learning_rate}"
            )
        rate = steps * batch_size / (time.monotonic() - start)
        figures.append(EpochFigures(epoch + 1, mean, rate, sparsity))

        def checkpoint(done: int = epoch + 1) -> Checkpoint:
            kept = [asdict(figure) for figure in figures]
            return Checkpoint(done, model.state_dict(), optimizer.state_dict(), kept)

        on_epoch(figures[-1], checkpoint)
    model.to("cpu")
    if mixed:
        _lay_out_(model, torch.contiguous_format)
    return figures


def _lay_out_(model: nn.Module, layout: torch.memory_format) -> None:
    """Brings the weights into another order in memory."""
    model.to(memory_format=layout)  # type: ignore[call-overload]  # documented, but not typed


def _optimizer(model: nn.Module, config: Optimisation) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(),
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


def _sparsity(model: nn.Module) -> float:
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    num_zero = sum(int((weight == 0).sum()) for weight in weights)
    return num_zero / max(1, sum(weight.numel() for weight in weights))
