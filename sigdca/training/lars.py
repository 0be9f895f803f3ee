"""LARS: a learning rate for each layer, so that very large batches can be trained with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Lars(torch.optim.Optimizer):
    """SGD with momentum whose step is, layer by layer, a share of the layer's weights.

    You, Gitman and Ginsburg, "Large batch training of convolutional networks" (arXiv 1708.03888),
    algorithm 1. Biases and batch norms, which have one axis, are trained by plain SGD without
    weight decay, as is usual with it (Goyal et al., arXiv 1706.02677, section 5.3).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        """Sets up the optimizer.

        Args:
            params: each a whole layer's, or a DTensor of it.
            lr: the learning rate of all layers.
            momentum: share of the step before that each step keeps.
            weight_decay: what is added of the weights to their gradient.
            trust: a layer's step at learning rate 1, as a share of its weights' norm.
        """
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate = group["lr"]
        if weight.dim() > 1:
            decay = group["weight_decay"]
            size, slope = _norm(weight), _norm(gradient)
            if size > 0 and slope > 0:
                rate = rate * group["trust"] * size / (slope + decay * size)
            gradient = gradient.add(weight, alpha=decay)
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        velocity = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(gradient * rate)
        weight.sub_(velocity)


def _norm(values: Tensor) -> Tensor:
    """The Euclidean norm, of all processes' parts."""
    norm: Tensor = torch.linalg.vector_norm(values)
    # A DTensor's. To import its module, only to ask, takes each process a second.
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
