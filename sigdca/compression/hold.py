"""Holds the zeros of layers that an earlier pass has pruned while another pass retrains."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from sigdca.compression.prune import PruneHook
from sigdca.compression.quantize import QuantizeHook
from sigdca.compression.select import weight_of
from sigdca.compression.share import ShareHook


class HoldHook:
    """A pass's own hook, with weights that are zero at an epoch's start kept so.

    It works on what the pass's hook gets to see, so that latent weights are held too. Its state
    follows from the weights alone, so training may be resumed at any epoch with a new hook.
    """

    def __init__(
        self, inner: PruneHook | ShareHook | QuantizeHook, layers: Collection[str]
    ) -> None:
        """Keeps the pass's own hook, and the names of the layers whose zeros are held."""
        self._inner = inner
        self._layers = tuple(layers)
        self._gone: dict[str, Tensor] = {}

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Finds the zeros, before the pass's hook makes any."""
        self._gone = {layer: weight_of(model, layer).detach() == 0 for layer in self._layers}
        self._inner.before_epoch(model, epoch, num_epochs)

    def after_backward(self, model: nn.Module) -> None:
        """Clears the gradients of the zeros, whatever the pass's hook has added."""
        self._inner.after_backward(model)
        for layer, gone in self._gone.items():
            gradient = weight_of(model, layer).grad
            if gradient is not None:
                gradient.masked_fill_(gone, 0.0)

    def after_step(self, model: nn.Module) -> None:
        """Clears zeros that the optimizer's momentum has moved, before the pass's hook looks."""
        with torch.no_grad():
            for layer, gone in self._gone.items():
                weight_of(model, layer).masked_fill_(gone, 0.0)
        self._inner.after_step(model)

    def after_last_step(self, model: nn.Module) -> None:
        """Leaves what an epoch's steps end with to the pass's hook."""
        self._inner.after_last_step(model)

    def after_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Leaves the end of the epoch to the pass's hook."""
        self._inner.after_epoch(model, epoch, num_epochs)
