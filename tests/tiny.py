"""Networks for images of 1 x 2 x 4 pixels, so that whole runs take moments."""

from __future__ import annotations

import torch
from torch import nn


class Tiny(nn.Module):
    """One FC layer."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.fc = nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.fc(torch.flatten(images, 1))


class Normed(nn.Module):
    """A convolution and a batch norm before it."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.fc(torch.flatten(self.norm(self.conv(images)), 1))
