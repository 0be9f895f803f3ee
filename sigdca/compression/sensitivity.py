"""What one layer alone stands: the accuracy when only it is pruned, shared or put on a grid."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from sigdca.compression.prune import prune_
from sigdca.compression.quantize import parameter_steps, quantize_
from sigdca.compression.share import share_

BATCH = 500

# From harmless to harsh.
LEVELS: dict[str, tuple[float, ...]] = {
    "sparsity": (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99),
    "bits": (8, 7, 6, 5, 4, 3, 2, 1),
    "step": (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.14, 0.2, 0.3),
}


def scan_layer(
    model: nn.Module,
    layer: str,
    kind: Literal["sparsity", "bits", "step"],
    images: Tensor,
    labels: Tensor,
) -> list[float]:
    """The accuracy at each of `LEVELS[kind]`, without retraining.

    Args:
        model: the network; it is left as it is.
        layer: the layer that is changed.
        kind: how.
        images: float32 [n, C, H, W], as the network takes them; of the train split, for the test
            split is no part of any choice but the last.
        labels: int64 [n].

    Returns:
        Percent right, a figure for each level.
    """
    found = []
    for level in LEVELS[kind]:
        changed = copy.deepcopy(model)
        _CHANGES[kind](changed, layer, level)
        found.append(accuracy_of(changed, images, labels))
    return found


def accuracy_of(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of the images that the network gets right."""
    model.eval()
    num_correct = 0
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            logits = model(images[start : start + BATCH])
            hits = logits.argmax(1) == labels[start : start + BATCH]
            num_correct += int(hits.sum())
    return 100 * num_correct / max(1, len(images))


def _prune(model: nn.Module, layer: str, level: float) -> None:
    prune_(model, {layer: level})


def _share(model: nn.Module, layer: str, level: float) -> None:
    share_(model, {layer: int(level)})


def _step(model: nn.Module, layer: str, level: float) -> None:
    quantize_(model, parameter_steps(model, {layer: level}, None))


_CHANGES: dict[str, Callable[[nn.Module, str, float], None]] = {
    "sparsity": _prune,
    "bits": _share,
    "step": _step,
}
