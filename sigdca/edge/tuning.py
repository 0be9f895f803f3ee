"""The train leg's training, in torch: some values of a container, by gradients.

First, weights that may move are trained one by one, and all other values with them; then each such
layer's weights are gathered around as many values as it had, and all values are trained on with
the weights where they are. Whatever an epoch ends with can be a container of the same size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sigdca.codec import Container, Graph, infer_shapes
from sigdca.edge.delta import rounded
from sigdca.edge.limits import MEGABYTE, Limits
from sigdca.edge.tied import Floats, Tied
from sigdca.edge.train_plan import Labelled, Plan, TrainConfig
from sigdca.engines.torch import forward, threads
from sigdca.errors import JobError

Weights = dict[str, Floats]

_FIRST = 0.6  # share of the epochs in which weights move
_GATHERINGS = 20  # rounds of k-means; it begins where the values were, and they have moved little
# What Python and torch take for themselves (320 MB were measured on x86-64), and how often a value
# is there: itself, its gradient, room to work.
_RUNTIME_BYTES = 350 * MEGABYTE
_COPIES = 3


@dataclass(frozen=True)
class Tuned:
    """How the training ended.

    Attributes:
        tensors: the best weights on the samples held out; None if none were better.
        num_epochs: done whole.
        stopped_by: the limit that ended it.
    """

    tensors: Weights | None
    num_epochs: int
    stopped_by: str | None


@dataclass(frozen=True, order=True)
class _Score:
    """The larger the better."""

    num_right: int
    gain: float  # minus the mean loss


def tune(
    container: Container,
    plan: Plan,
    train: Labelled,
    held_out: Labelled,
    config: TrainConfig,
    limits: Limits,
    packing_s: float,
) -> Tuned:
    """Trains, and keeps the best that was seen on the samples held out.

    Args:
        container: what to start from.
        plan: what of it may change.
        train: samples to train on.
        held_out: samples to judge by.
        config: how to train.
        limits: what is looked at after every step.
        packing_s: how long it takes afterwards to make a container and a delta.

    Raises:
        JobError: the memory limit leaves no room for a single sample.
    """
    with threads(1):  # more would add in another order: other bits, on another board
        return _Training(container, plan, config, limits, packing_s).run(train, held_out)


class _Training:
    def __init__(
        self,
        container: Container,
        plan: Plan,
        config: TrainConfig,
        limits: Limits,
        packing_s: float,
    ) -> None:
        self._graph = _without_softmax(container.graph)
        self._base = container.tensors
        self._tied = {
            name: Tied.of(container.tensors[name]) for name in (*plan.tied, *plan.moving)
        }
        self._plan, self._config, self._limits = plan, config, limits
        self._part = _samples_at_once(container, config)
        self._best: tuple[_Score, Weights] | None = None
        self._reserve_s = packing_s
        self._stopped_by: str | None = None
        self._num_epochs = 0

    def run(self, train: Labelled, held_out: Labelled) -> Tuned:
        begin = time.monotonic()
        before = self._score(self._base, held_out)
        self._reserve_s += 3 * (time.monotonic() - begin)  # to judge here, and by the engine
        first = round(_FIRST * self._config.epochs) if self._plan.moving else 0
        tensors = self._round(self._base, self._plan.moving, first, 0, train, held_out)
        left = self._config.epochs - first
        self._round(tensors, (), left, first, train, held_out)
        score, best = self._best or (before, None)
        if score.num_right <= before.num_right:
            best = None
        return Tuned(best, self._num_epochs, self._stopped_by)

    def _round(
        self,
        tensors: Mapping[str, Floats],
        moving: tuple[str, ...],
        epochs: int,
        done: int,
        train: Labelled,
        held_out: Labelled,
    ) -> Weights:
        """Some epochs, their learning rate falling to 0; gives what they end with."""
        trained = {
            name: _Trained(Tied.of(tensors[name]), name in moving, _size(name, tensors))
            for name in (*self._plan.tied, *self._plan.moving)
        }
        fixed = {
            name: torch.from_numpy(tensor)
            for name, tensor in tensors.items()
            if name not in trained
        }
        steps = -(-len(train) // self._config.batch_size)
        result = dict(tensors)
        for epoch in range(epochs):
            if self._stopped_by is not None:
                break
            order = np.random.default_rng([self._config.seed, 1, done + epoch])
            for step, batch in enumerate(self._batches(order.permutation(len(train)))):
                part = (epoch + step / steps) / epochs
                learning_rate = self._config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * part))
                self._step(learning_rate, fixed, trained, train, batch)
                self._stopped_by = self._limits.why_stop(self._reserve_s)
                if self._stopped_by is not None:
                    break
            else:
                self._num_epochs += 1
            result = {name: self._deployable(name, trained) for name in tensors}
            self._judge(result, held_out)
        return result

    def _step(
        self,
        learning_rate: float,
        fixed: Mapping[str, Tensor],
        trained: Mapping[str, _Trained],
        train: Labelled,
        batch: NDArray[np.int64],
    ) -> None:
        for start in range(0, len(batch), self._part):
            part = batch[start : start + self._part]
            tensors = {**fixed, **{name: one.tensor() for name, one in trained.items()}}
            logits = self._logits(tensors, train.images[part])
            labels = torch.from_numpy(train.labels[part])
            loss = functional.cross_entropy(logits, labels, reduction="sum") / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
        for one in trained.values():
            one.step(learning_rate)

    def _deployable(self, name: str, trained: Mapping[str, _Trained]) -> Floats:
        """A tensor as a container may hold it, a float16 difference from what it was."""
        if name not in trained:
            return self._base[name]
        tied, found = self._tied[name], trained[name].tied()
        if len(found.values) > len(tied.values):
            found = _gathered(found, tied.values)
        if len(found.values) == len(tied.values):
            found = replace(found, values=rounded(tied.values, found.values))
        return found.with_values(found.values)

    def _judge(self, tensors: Weights, held_out: Labelled) -> None:
        score = self._score(tensors, held_out)
        if self._best is None or score > self._best[0]:
            self._best = score, tensors

    def _score(self, tensors: Mapping[str, Floats], samples: Labelled) -> _Score:
        right, loss = 0, 0.0
        given = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        with torch.no_grad():
            for start in range(0, len(samples), self._part):
                logits = self._logits(given, samples.images[start : start + self._part])
                labels = torch.from_numpy(samples.labels[start : start + self._part])
                right += int((logits.argmax(1) == labels).sum())
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        return _Score(right, -loss / len(samples))

    def _logits(self, tensors: Mapping[str, Tensor], images: NDArray[np.uint8]) -> Tensor:
        weights = [
            {
                end: tensors[f"{op.name}.{end}"]
                for end in ("weight", "bias", "running_mean", "running_var")
                if op.name and f"{op.name}.{end}" in tensors
            }
            for op in self._graph.ops
        ]
        return forward(self._graph, weights, torch.from_numpy(images.astype(np.float32)))

    def _batches(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        for start in range(0, len(order), self._config.batch_size):
            yield order[start : start + self._config.batch_size]


class _Trained:
    """A tensor of which some values are trained, by Adam (Kingma and Ba, ICLR 2015).

    Importing torch's own optimizers takes 70 MB more, and seconds.
    """

    _DECAYS = (0.9, 0.999)
    _EPS = 1e-8

    def __init__(self, tied: Tied, one_by_one: bool, size: float) -> None:
        """Takes values, of about that size."""
        if one_by_one:
            every = np.arange(len(tied.places), dtype=np.int32)
            tied = Tied(tied.values[tied.groups], tied.places, every, tied.shape)
        self._tied, self._size, self._num_steps = tied, size, 0
        self._values = torch.from_numpy(tied.values.copy()).requires_grad_()
        self._mean, self._square = (torch.zeros(len(tied.values)) for _ in range(2))
        self._places, self._groups = torch.from_numpy(tied.places), torch.from_numpy(tied.groups)

    def step(self, learning_rate: float) -> None:
        """Moves the values by their gradient, which is used up; the rate is a share of a value."""
        gradient = self._values.grad
        assert gradient is not None
        self._num_steps += 1
        self._mean.lerp_(gradient, 1 - self._DECAYS[0])
        self._square.lerp_(gradient.square(), 1 - self._DECAYS[1])
        seen = [1 - decay**self._num_steps for decay in self._DECAYS]
        root = (self._square / seen[1]).sqrt_().add_(self._EPS)
        with torch.no_grad():
            step = self._size * learning_rate / seen[0]
            self._values.addcdiv_(self._mean, root, value=-step)
        self._values.grad = None

    def tensor(self) -> Tensor:
        """The tensor; its gradient reaches the values, summed over those who take them."""
        flat = torch.zeros(math.prod(self._tied.shape))
        chosen = self._values.index_select(0, self._groups)
        return flat.index_copy(0, self._places, chosen).reshape(self._tied.shape)

    def tied(self) -> Tied:
        """The same outside of torch."""
        return replace(self._tied, values=self._values.detach().numpy().copy())


def _gathered(weights: Tied, start: Floats) -> Tied:
    """Weights that may all differ, around no more values than there were: k-means from these."""
    flat, values = weights.values[weights.groups].astype(np.float64), start.astype(np.float64)
    for _ in range(_GATHERINGS):
        groups = np.searchsorted((values[1:] + values[:-1]) / 2, flat)
        counts = np.bincount(groups, minlength=len(values))
        sums = np.bincount(groups, flat, len(values))
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), values)
        if np.array_equal(moved, values):
            break
        values = moved
    groups = np.searchsorted((values[1:] + values[:-1]) / 2, flat)
    return Tied(values.astype(np.float32), weights.places, groups.astype(np.int32), weights.shape)


def _size(name: str, tensors: Mapping[str, Floats]) -> float:
    """How large a tensor's values are; a bias may change as its layer's weights may."""
    layer = name.rpartition(".")[0]
    sizes = []
    for tensor in (tensors[name], tensors[f"{layer}.weight"]):
        kept = tensor[tensor != 0]
        sizes.append(float(np.sqrt(np.mean(np.square(kept)))) if kept.size else 0.0)
    return max(sizes)


def _without_softmax(graph: Graph) -> Graph:
    """Cross entropy wants logits."""
    return replace(graph, ops=graph.ops[:-1]) if graph.ops[-1].kind == "softmax" else graph


def _samples_at_once(container: Container, config: TrainConfig) -> int:
    """As many samples of a batch as the memory limit has room for."""
    if config.memory_limit_bytes is None:
        return config.batch_size
    values = sum(math.prod(shape) for shape in infer_shapes(container.graph))
    weights = sum(tensor.nbytes for tensor in container.tensors.values())
    fixed = _RUNTIME_BYTES + _COPIES * weights
    one = 4 * _COPIES * values
    room = (config.memory_limit_bytes - fixed) // one
    if room < 1:
        least = -(-(fixed + one) // MEGABYTE)
        raise JobError(
            f"train leg: memory limit {config.memory_limit_bytes / MEGABYTE:g} MB, this "
            f"network needs about {least} MB"
        )
    return min(config.batch_size, room)
