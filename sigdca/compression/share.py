"""The `share` pass: a layer's non-zero weights take few values, which are then fine-tuned.

Han, Mao and Dally, "Deep Compression" (arXiv 1510.00149), section 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sigdca.compression.kmeans import Init, kmeans_codebook
from sigdca.compression.select import weight_of


def share_(
    model: nn.Module, bits: Mapping[str, int], init: Init = "linear", seed: int = 0
) -> dict[str, int]:
    """Replaces every non-zero weight by the nearest centroid of its layer, in place.

    Args:
        model: the network. Zeros (pruned weights) stay zero and have no part in the centroids.
        bits: layer name -> log2 of the most distinct non-zero values that it may have.
        init: how the centroids are initialised; see `kmeans_codebook`.
        seed: of the random initialisation.

    Returns:
        Layer name -> number of centroids.
    """
    num_centroids = {}
    with torch.no_grad():
        for number, (layer, width) in enumerate(bits.items()):
            weight = weight_of(model, layer)
            kept = weight != 0
            values = weight[kept].cpu().numpy()
            seeds = np.random.SeedSequence([seed, number]).generate_state(1)
            codebook, indices = kmeans_codebook(values, 2**width, init, int(seeds[0]))
            weight[kept] = torch.from_numpy(codebook[indices]).to(weight.device)
            num_centroids[layer] = len(codebook)
    return num_centroids


@dataclass(frozen=True)
class _Ties:
    """Which weights of a layer are one.

    Attributes:
        places: int64 [m], where the non-zero weights lie in the flat weight.
        groups: int64 [m], the centroid of each.
        firsts: int64 [k], where the first weight of each centroid lies.
    """

    places: Tensor
    groups: Tensor
    firsts: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> _Ties:
        flat = weight.detach().reshape(-1)
        places = torch.nonzero(flat).reshape(-1)
        _, firsts, groups = np.unique(
            flat[places].cpu().numpy(), return_index=True, return_inverse=True
        )
        device = weight.device
        return cls(
            places,
            torch.from_numpy(groups.reshape(-1)).to(device),
            places[torch.from_numpy(firsts).to(device)],
        )

    def tie_gradient_(self, gradient: Tensor) -> None:
        """Gives each weight the sum over its centroid's weights; none to zeros."""
        summed = torch.zeros(len(self.firsts), dtype=torch.float64, device=gradient.device)
        summed.index_add_(0, self.groups, gradient.reshape(-1)[self.places].double())
        self._fill_(gradient, summed.to(gradient.dtype))

    def tie_weight_(self, weight: Tensor) -> None:
        """Gives each weight the value of its centroid's first weight."""
        self._fill_(weight, weight.reshape(-1)[self.firsts])

    def _fill_(self, tensor: Tensor, codebook: Tensor) -> None:
        flat = torch.zeros(tensor.numel(), dtype=tensor.dtype, device=tensor.device)
        flat.index_copy_(0, self.places, codebook[self.groups])
        tensor.copy_(flat.reshape(tensor.shape))


class ShareHook:
    """Trains the centroids: weights that are equal at an epoch's start stay equal.

    A centroid's gradient is the sum of its weights' gradients (Deep Compression, equation 3). Its
    state follows from the weights alone, so training may be resumed at any epoch with a new hook.
    """

    def __init__(self, layers: Collection[str]) -> None:
        """Keeps the names of the layers whose weights are shared."""
        self._layers = tuple(layers)
        self._ties: dict[str, _Ties] = {}

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Finds the centroids in the weights.

        Anew each epoch: two centroids that have met are one from then on, resumed or not.
        """
        once = {weight_of(model, layer): layer for layer in self._layers}  # two may have one
        self._ties = {layer: _Ties.of(weight) for weight, layer in once.items()}

    def after_backward(self, model: nn.Module) -> None:
        """Sums the gradients of each centroid's weights."""
        for layer, ties in self._ties.items():
            gradient = weight_of(model, layer).grad
            if gradient is not None:
                ties.tie_gradient_(gradient)

    def after_step(self, model: nn.Module) -> None:
        """Makes each centroid's weights bit-equal again, and zeros zero."""
        with torch.no_grad():
            for layer, ties in self._ties.items():
                ties.tie_weight_(weight_of(model, layer))

    def after_last_step(self, model: nn.Module) -> None:
        """Nothing: the centroids stand in the weights."""

    def after_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Nothing: the centroids stand in the weights."""
