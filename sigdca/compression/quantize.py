"""The `quantize` pass: weights on a grid, trained to be cheap to code.

While the network is retrained it computes with rounded weights; gradients pass the rounding as if
it were not there (straight-through, Bengio et al., arXiv 1308.3432) and move latent weights. To
the loss comes lambda times the bits that an entropy coder would need, so that one figure walks the
curve of size and error (Oktay et al., "Scalable Model Compression by Entropy Penalized
Reparameterization", ICLR 2020, equation 2). The bits are those of an empirical model per layer
(`rates.py`) that is counted anew along the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sigdca.compression.rates import Rates

RECOUNT_STEPS = 100  # steps between two counts of the levels
_STILL = 1e-4  # a channel whose variance is less than this share of batch norm's eps is constant


def grid_step(step: float) -> float:
    """The nearest figure of 8 significant bits: its small multiples are exact in float32."""
    mantissa, exponent = math.frexp(step)
    return math.ldexp(round(mantissa * 256), exponent - 8)


def levels_of(weight: Tensor, step: float) -> Tensor:
    """The whole number of steps that is nearest to each weight, float32, halves to even."""
    return torch.round(weight / step)


def quantize_(model: nn.Module, steps: Mapping[str, float]) -> None:
    """Moves each named parameter to its grid, in place.

    Args:
        model: the network.
        steps: parameter name -> distance of two values; taken as `grid_step` gives it.
    """
    with torch.no_grad():
        for name, step in steps.items():
            weight = model.get_parameter(name)
            weight.copy_(levels_of(weight, grid_step(step)) * grid_step(step))


def fold_norms_(model: nn.Module, norm_step: float) -> None:
    """Makes each batch norm a scale and a shift of few values, in place.

    Its running statistics go into its weight and bias (mean 0, variance 1 - eps remain, which cost
    nothing), and these to a grid. A channel that is always the same has the scale 0, and keeps its
    bias.

    Args:
        model: the network; its BatchNorm2d layers with parameters and statistics are changed.
        norm_step: distance of two values, as a share of the layer's largest.
    """
    with torch.no_grad():
        for norm in model.modules():
            if not isinstance(norm, nn.BatchNorm2d) or not norm.affine:
                continue
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                continue
            scale = norm.weight / torch.sqrt(variance + norm.eps)
            scale = torch.where(variance < _STILL * norm.eps, 0.0, scale)
            shift = norm.bias - mean * scale
            mean.zero_()
            variance.fill_(1 - norm.eps)
            for parameter, values in ((norm.weight, scale), (norm.bias, shift)):
                step = grid_step(max(float(values.abs().max()), 1e-12) * norm_step)
                parameter.copy_(levels_of(values, step) * step)


class QuantizeHook:
    """Trains weights that are rounded to a grid and cost bits.

    Between epochs, the model holds the latent weights; after the last one, the rounded weights,
    and batch norms that are folded.
    The hook's state follows from the weights and the epoch alone, so training may be resumed at
    any epoch with a new hook.
    """

    def __init__(
        self,
        steps: Mapping[str, float],
        rate_lambda: float,
        ramp: float = 0.3,
        norm_step: float | None = None,
    ) -> None:
        """Keeps the settings.

        Args:
            steps: parameter name -> distance of two values of its grid.
            rate_lambda: what a bit costs, in nats of the mean cross entropy.
            ramp: share of the epochs, in (0, 1], over which that grows from near 0.
            norm_step: see `fold_norms_`; None: batch norms stay as they are trained.
        """
        self._steps = {name: grid_step(step) for name, step in steps.items()}
        self._lambda, self._ramp, self._norm_step = rate_lambda, ramp, norm_step
        self._latent: dict[str, Tensor] = {}  # in steps
        self._levels: dict[str, Tensor] = {}  # the same, rounded
        self._scratch: dict[str, Tensor] = {}  # reused, for new memory costs as much as the sums
        self._rates: dict[str, Rates] = {}
        self._weight = 0.0
        self._num_steps = 0

    def before_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Takes the model's weights as latent ones and gives it the rounded ones."""
        self._weight = self._lambda * min(1.0, (epoch + 1) / max(1.0, self._ramp * num_epochs))
        self._latent = {
            name: weight.detach() / self._steps[name] for name, weight in self._each(model)
        }
        self._levels = {name: torch.empty_like(latent) for name, latent in self._latent.items()}
        self._scratch = {name: torch.empty_like(latent) for name, latent in self._latent.items()}
        self._num_steps = 0
        self._round_(model)
        self._recount()

    def after_backward(self, model: nn.Module) -> None:
        """Adds what the loss gains by the bits that a latent weight saves as it shrinks."""
        for name, weight in self._each(model):
            if weight.grad is not None:
                slope = self._rates[name].slope(self._latent[name], self._scratch[name])
                weight.grad.add_(slope, alpha=self._weight / self._steps[name])

    def after_step(self, model: nn.Module) -> None:
        """Moves the latent weights as the optimizer has moved the rounded ones, and rounds."""
        with torch.no_grad():
            for name, weight in self._each(model):
                moved = torch.div(weight, self._steps[name], out=self._scratch[name])
                self._latent[name].add_(moved.sub_(self._levels[name]))
        self._num_steps += 1
        self._round_(model)
        if self._num_steps % RECOUNT_STEPS == 0:
            self._recount()

    def after_last_step(self, model: nn.Module) -> None:
        """Nothing: the weights are rounded."""

    def after_epoch(self, model: nn.Module, epoch: int, num_epochs: int) -> None:
        """Gives the model its latent weights back; after the last epoch, folds batch norms."""
        if epoch + 1 < num_epochs:
            with torch.no_grad():
                for name, weight in self._each(model):
                    torch.mul(self._latent[name], self._steps[name], out=weight.data)
        elif self._norm_step is not None:
            fold_norms_(model, self._norm_step)

    def _each(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, model.get_parameter(name)) for name in self._steps)

    def _recount(self) -> None:
        self._rates = {name: Rates.of(levels) for name, levels in self._levels.items()}

    def _round_(self, model: nn.Module) -> None:
        with torch.no_grad():
            for name, weight in self._each(model):
                torch.round(self._latent[name], out=self._levels[name])
                torch.mul(self._levels[name], self._steps[name], out=weight.data)


def parameter_steps(
    model: nn.Module, steps: Mapping[str, float], bias_step: float | None
) -> dict[str, float]:
    """Spreads the steps of layers over their parameters.

    Args:
        model: the network.
        steps: layer name -> distance of two values of its weights.
        bias_step: the same of every bias; None: that of its layer's weights.

    Returns:
        Parameter name -> distance of two values.
    """
    found: dict[str, float] = {}
    for layer, step in steps.items():
        found[f"{layer}.weight"] = step
        if getattr(model.get_submodule(layer), "bias", None) is not None:
            found[f"{layer}.bias"] = step if bias_step is None else bias_step
    return found
