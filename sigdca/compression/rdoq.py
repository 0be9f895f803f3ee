"""The `rdoq` pass: weights go to a grid where error and bits are least together, at once.

Rate-distortion optimised quantisation, from video coding (Wiedemann et al., "DeepCABAC", arXiv
1907.11900): the price of each level is asked of the arithmetic coder itself, with all that it has
learnt from the weights before. It needs no data; what it leaves may be fine-tuned as `share` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from sigdca.codec import Graph
from sigdca.codec.assign import assign_levels
from sigdca.codec.layers import members_of
from sigdca.codec.values import MAX_GRID_LEVEL
from sigdca.compression.quantize import grid_step, levels_of
from sigdca.compression.select import weight_of
from sigdca.errors import JobError

_SPARE = 1.01  # a step that a message proposes is rounded, there and when it is taken


def rdoq_(
    model: nn.Module,
    graph: Graph,
    steps: Mapping[str, float],
    rate_lambda: float,
    bias_step: float | None = None,
) -> float:
    """Moves weights to the values of a grid, in place; biases to the nearest ones.

    Args:
        model: the network.
        graph: what `trace` makes of it; the coder has a layer's image from there.
        steps: layer name -> distance of two values; taken as `grid_step` gives it.
        rate_lambda: what a bit costs, in squared steps.
        bias_step: the same of biases; None: that of their layer.

    Returns:
        The bits that an arithmetic stream of all the weights takes.

    Raises:
        JobError: a step is too small for the weights of its layer.
    """
    bits = 0.0
    strides = {layer: members[-1].stride for layer, members in members_of(graph).items()}
    with torch.no_grad():
        for layer, step in steps.items():
            weight, exact = weight_of(model, layer), grid_step(step)
            _check_step(layer, step, float(weight.abs().max()))
            rows = np.ascontiguousarray((weight / exact).cpu().numpy(), np.float32)
            stride = strides.get(layer, 0)  # what inference does not need has no place there
            found = assign_levels(rows.reshape(len(rows), -1), stride, rate_lambda)
            levels = torch.from_numpy(found.levels.reshape(weight.shape)).to(weight)
            weight.copy_(levels * exact)
            bits += found.bits
            bias = getattr(model.get_submodule(layer), "bias", None)
            if bias is not None:
                own = exact if bias_step is None else grid_step(bias_step)
                bias.copy_(levels_of(bias, own) * own)
    return bits


def _check_step(layer: str, step: float, largest: float) -> None:
    """Whether a container's grid of this step has a value for a layer's largest weight."""
    if largest > MAX_GRID_LEVEL * grid_step(step):
        raise JobError(
            f"rdoq.step: layer '{layer}': must be at least "
            f"{_SPARE * largest / MAX_GRID_LEVEL:.3g} for weights of up to {largest:.3g}, "
            f"got {step:g}"
        )
