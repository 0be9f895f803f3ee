"""A small residual network for CIFAR-10, given to a job as `cifar10_net:ResNet9`.

Nine layers, as Page's for DAWNBench (2018): wide and shallow, which suits a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LOGIT_SCALE = 0.125  # Page's: the last layer learns slowly at first


class Block(nn.Sequential):
    """3x3 convolution, batch norm, ReLU; gives [n, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class ResNet9(nn.Module):
    """Takes float32 [n, 3, 32, 32] and gives logits [n, num_classes]; 6.6 million parameters."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.first = Block(3, 64)
        self.down1 = Block(64, 128)
        self.same1 = nn.Sequential(Block(128, 128), Block(128, 128))
        self.down2 = Block(128, 256)
        self.down3 = Block(256, 512)
        self.same3 = nn.Sequential(Block(512, 512), Block(512, 512))
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.max_pool2d(self.down1(self.first(x)), 2)
        x = x + self.same1(x)
        x = functional.max_pool2d(self.down2(x), 2)
        x = functional.max_pool2d(self.down3(x), 2)
        x = x + self.same3(x)
        x = torch.flatten(functional.max_pool2d(x, 4), 1)
        logits: Tensor = self.fc(x)
        return LOGIT_SCALE * logits
