"""Initial weights. They depend on torch's random generator alone."""

from __future__ import annotations

from torch import nn


def xavier_(model: nn.Module) -> None:
    """Fills conv and fc layers in place as Glorot and Bengio (2010) do, biases with zeros."""
    for layer in _layers(model):
        nn.init.xavier_uniform_(layer.weight)


def he_(model: nn.Module) -> None:
    """Fills conv and fc layers in place for ReLU as He et al. (2015) do, biases with zeros."""
    for layer in _layers(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers
