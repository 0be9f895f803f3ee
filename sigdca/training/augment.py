"""Random affine changes of a whole batch of images at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sigdca.job import Augment


def augment_batch(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """Moves, turns and resizes every image by its own random amount.

    Args:
        images: float32 [n, C, H, W].
        config: the largest shift, rotation and change of size; all zero changes nothing.
        generator: the source of randomness, on the CPU, so that a batch is reproducible.

    Returns:
        float32 [n, C, H, W]: bilinear samples, zero outside the image.
    """
    if not (config.shift or config.rotate or config.scale):
        return images
    num = images.shape[0]
    uniform = torch.rand((4, num), generator=generator) * 2 - 1
    angle = uniform[0] * math.radians(config.rotate)
    size = 1 + uniform[1] * config.scale
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid's coordinates span -1..1, so a shift of the whole side is 2.
    shift_x, shift_y = uniform[2] * 2 * config.shift, uniform[3] * 2 * config.shift
    theta = torch.stack(
        [torch.stack([cosine, -sine, shift_x], 1), torch.stack([sine, cosine, shift_y], 1)], 1
    ).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
