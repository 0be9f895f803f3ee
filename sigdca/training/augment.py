"""Random changes of a whole batch of images at once: affine, and mirrored."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sigdca.job import Augment


def augment_batch(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """Moves, turns and resizes every image by its own random amount, and mirrors some.

    Args:
        images: float32 [n, C, H, W].
        config: the largest shift, rotation and change of size, and whether to mirror; all zero
            changes nothing.
        generator: the source of randomness, on the CPU, so that a batch is reproducible.

    Returns:
        float32 [n, C, H, W]: bilinear samples, zero outside the image. A shift alone is of whole
        pixels, which keep their values.
    """
    if config.shift or config.rotate or config.scale:
        images = _affine(images, config, generator)
    if config.flip:
        mirrored = torch.rand(images.shape[0], generator=generator).to(images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _affine(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    num, _, height, width = images.shape
    uniform = torch.rand((4, num), generator=generator) * 2 - 1
    angle = uniform[0] * math.radians(config.rotate)
    size = 1 + uniform[1] * config.scale
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid's coordinates span -1..1, so a shift of the whole side is 2.
    shift_x, shift_y = uniform[2] * 2 * config.shift, uniform[3] * 2 * config.shift
    mode = "bilinear"
    if not (config.rotate or config.scale):
        mode = "nearest"  # nothing is blurred, not even by rounding
        shift_x = _whole_pixels(uniform[2], config.shift, width)
        shift_y = _whole_pixels(uniform[3], config.shift, height)
    # Both axes span as much, whatever their pixels: turned as they are, an image would be sheared.
    row_x = torch.stack([cosine, -sine * (height / width), shift_x], 1)
    row_y = torch.stack([sine * (width / height), cosine, shift_y], 1)
    theta = torch.stack([row_x, row_y], 1).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _whole_pixels(uniform: Tensor, largest: float, side: int) -> Tensor:
    """Each whole number of pixels that is not above the largest, as likely as any other.

    Args:
        uniform: in [-1, 1).
        largest: share of the side.
        side: pixels.

    Returns:
        The shift in affine_grid's coordinates.
    """
    most = math.floor(largest * side + 1e-6)
    pixels = torch.floor((uniform + 1) / 2 * (2 * most + 1)).clamp(max=2 * most) - most
    return pixels * 2 / side
