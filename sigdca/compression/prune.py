"""The `prune` pass: the least important weights become zero and stay zero through retraining.

Han, Pool, Tran and Dally, "Learning both Weights and Connections" (2015), section 3; the gradual
schedule is Zhu and Gupta, "To prune, or not to prune" (2017), equation 1; movement is Sanh, Wolf
and Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (2020), equation 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sigdca.compression.select import weight_of

SCORE_STEPS = 100  # steps of an epoch whose movement is added up

Importance = Callable[[Tensor], Tensor]
"""Gives each weight a score of how much it matters: a tensor of the weight's shape."""


def magnitude_importance(weight: Tensor) -> Tensor:
    """A weight matters as much as it is large (Han et al. 2015)."""
    return weight.detach().abs()


def mask_for(importance: Tensor, sparsity: float) -> Tensor:
    """Which weights stay.

    Args:
        importance: a score for each weight.
        sparsity: the fraction of them that goes, in [0, 1].

    Returns:
        bool tensor of the same shape with exactly `round(sparsity * n)` False: the lowest scores,
        and the first in memory among equal ones.
    """
    scores = importance.reshape(-1)
    num_zero = round(sparsity * scores.numel())
    mask = torch.ones_like(scores, dtype=torch.bool)
    if num_zero:
        highest_gone = torch.kthvalue(scores, num_zero).values
        mask[scores < highest_gone] = False
        equal = torch.nonzero(scores == highest_gone).reshape(-1)
        mask[equal[: num_zero - int((~mask).sum())]] = False
    return mask.reshape(importance.shape)


def cubic_sparsity(final: float, progress: float) -> float:
    """The sparsity at `progress` (0 to 1) of the ramp from none to `final`.

    Zhu and Gupta (2017), equation 1, with an initial sparsity of zero: steep at first, while
    redundant weights abound.
    """
    return final * (1 - (1 - min(1.0, max(0.0, progress))) ** 3)


def prune_(
    model: nn.Module,
    sparsity: Mapping[str, float],
    importance: Importance = magnitude_importance,
) -> dict[str, Tensor]:
    """Sets the least important weights of each named layer to zero, in place.

    Args:
        model: the network.
        sparsity: layer name -> fraction of zeros, in [0, 1).
        importance: the score that decides; the default is the magnitude.

    Returns:
        Layer name -> mask (True: stays), of the weight's shape.
    """
    masks = {}
    with torch.no_grad():
        for layer, fraction in sparsity.items():
            weight = weight_of(model, layer)
            masks[layer] = mask_for(importance(weight), fraction)
            weight.masked_fill_(~masks[layer], 0.0)
    return masks


class PruneHook:
    """Prunes in each epoch as far as the schedule says, and holds the masks in between.

    A layer that is sparser than the schedule says stays as it is, until the schedule is there.

    By magnitude, it prunes before an epoch. By movement, it watches `SCORE_STEPS` steps of the
    epoch first: a weight matters as much as these steps would make it grow.

    Its state follows from the weights, the epoch and the number of epochs alone, so training may
    be resumed at any epoch with a new hook: zeros are the least important weights and stay zero.
    """

    def __init__(
        self,
        sparsity: Mapping[str, float],
        schedule: Literal["gradual", "one-shot"] = "gradual",
        ramp: float = 0.6,
        importance: Literal["magnitude", "movement"] = "magnitude",
    ) -> None:
        """Keeps the settings; nothing is pruned yet.

        Args:
            sparsity: layer name -> final fraction of zeros, in [0, 1).
            schedule: `gradual` prunes more each epoch; `one-shot` all in the first.
            ramp: gradual: the share of the epochs, in (0, 1], in which the sparsity grows; the
                last of them, and all later ones, have the final sparsity.
            importance: what decides which weights go.
        """
        self._sparsity = dict(sparsity)
        self._schedule = schedule
        self._ramp = ramp
        self._importance = importance
        self._masks: dict[str, Tensor] = {}
        self._scores: dict[str, Tensor] = {}  # while they are gathered
        self._target: dict[str, float] = {}
        self._num_taken = torch.zeros(())  # where the weights are: to ask a GPU makes it wait
        self._num_missing = 0  # steps until enough can have been taken

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Prunes to the schedule's sparsity for epoch `epoch` (from 0) of `num_epochs`."""
        progress = 1.0
        if self._schedule == "gradual":
            progress = (epoch + 1) / max(1, math.ceil(self._ramp * num_epochs))
        weights = {layer: weight_of(model, layer).detach() for layer in self._sparsity}
        self._masks = {layer: weight != 0 for layer, weight in weights.items()}
        self._target = {
            layer: cubic_sparsity(final, progress) for layer, final in self._sparsity.items()
        }
        if self._importance == "magnitude":
            self._masks = prune_(model, {layer: self._fraction(layer) for layer in self._sparsity})
            return
        self._scores = {layer: torch.zeros_like(weight) for layer, weight in weights.items()}
        device = next(model.parameters()).device
        self._num_taken = torch.zeros((), dtype=torch.int64, device=device)
        self._num_missing = SCORE_STEPS

    def after_backward(self, model: nn.Module) -> None:
        """Clears the gradients of pruned weights; notes where the others move."""
        if self._scores:
            self._note_movement(model)
        for layer, mask in self._masks.items():
            gradient = weight_of(model, layer).grad
            if gradient is not None:
                gradient.masked_fill_(~mask, 0.0)

    def after_step(self, model: nn.Module) -> None:
        """Clears pruned weights that the optimizer's momentum has moved."""
        with torch.no_grad():
            for layer, mask in self._masks.items():
                weight_of(model, layer).masked_fill_(~mask, 0.0)
        if self._scores:
            self._num_missing -= 1
            if self._num_missing == 0:
                self._num_missing = SCORE_STEPS - int(self._num_taken)
            if self._num_missing == 0:
                self._prune_by_scores(model)

    def after_last_step(self, model: nn.Module) -> None:
        """Prunes by movement now, where an epoch had too few steps."""
        if self._scores:
            self._prune_by_scores(model)

    def after_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Nothing: the weights hold the masks."""

    def _note_movement(self, model: nn.Module) -> None:
        """Adds up where a step moves the weights, unless it is skipped.

        Under fp16 it is, as a whole, where a single gradient is not finite.
        """
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        taken = torch.stack([torch.isfinite(gradient).all() for gradient in gradients]).all()
        self._num_taken += taken
        for layer, score in self._scores.items():
            weight = weight_of(model, layer)
            if weight.grad is not None:
                pull = torch.where(taken, weight.grad, 0.0)
                score.addcmul_(weight.detach(), pull, value=-1.0)

    def _prune_by_scores(self, model: nn.Module) -> None:
        """Prunes by movement, once in an epoch."""
        gone = {layer: ~mask for layer, mask in self._masks.items()}
        scores = {
            layer: score.masked_fill(gone[layer], -math.inf)
            for layer, score in self._scores.items()
        }
        self._scores = {}
        with torch.no_grad():
            for layer in self._target:
                mask = mask_for(scores[layer], self._fraction(layer))
                weight_of(model, layer).masked_fill_(~mask, 0.0)
                self._masks[layer] = mask

    def _fraction(self, layer: str) -> float:
        """The schedule's, or what is zero already if that is more."""
        mask = self._masks[layer]
        return max(self._target[layer], int((~mask).sum()) / mask.numel())
