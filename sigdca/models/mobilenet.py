"""MobileNetV2: Sandler et al. (2018), "Inverted Residuals and Linear Bottlenecks"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import he_

# Table 2 of the paper: expansion, channels, blocks, whether the first of them halves its maps.
STAGES = (
    (1, 16, 1, False),
    (6, 24, 2, True),
    (6, 32, 3, True),
    (6, 64, 4, True),
    (6, 96, 3, False),
    (6, 160, 3, True),
    (6, 320, 1, False),
)


class MobileNetV2(nn.Module):
    """A convolution, 17 inverted residual blocks and a 1x1 convolution: 3,504,872 parameters.

    Takes float32 [n, 3, 224, 224] and gives logits [n, num_classes].

    Args:
        num_classes: outputs.
        num_strides: how many of the network's five halvings it keeps, the last ones.
    """

    def __init__(self, num_classes: int = 1000, num_strides: int = 5) -> None:
        super().__init__()
        strides = iter([1] * (5 - num_strides) + [2] * num_strides)
        self.conv1 = nn.Conv2d(3, 32, 3, stride=next(strides), padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(32)
        blocks: list[nn.Module] = []
        in_channels = 32
        for expansion, channels, num_blocks, halves in STAGES:
            stride = next(strides) if halves else 1
            for _ in range(num_blocks):
                blocks.append(InvertedResidual(in_channels, channels, expansion, stride))
                in_channels, stride = channels, 1
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = nn.Conv2d(in_channels, 1280, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(1280)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, num_classes)
        he_(self)
        nn.init.normal_(self.fc.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.relu6(self.norm1(self.conv1(x)))
        x = functional.relu6(self.norm2(self.conv2(self.blocks(x))))
        mean = torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)
        logits: Tensor = self.fc(self.drop(mean))
        return logits


class MobileNetV2Cifar(MobileNetV2):
    """MobileNetV2 for pictures of 32x32: 2,236,682 parameters.

    The first two halvings are left out, so that maps of 4x4 reach the mean. Takes float32
    [n, 3, 32, 32] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes, num_strides=3)


class InvertedResidual(nn.Module):
    """A 1x1 convolution to many channels, one 3x3 filter for each of them, a 1x1 back to few.

    Where the shapes agree, the input is added. Takes float32 [n, in_channels, h, w] and gives
    [n, out_channels, h / stride, w / stride], halves rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, width, 1, bias=False) if expansion > 1 else None
        self.norm1 = nn.BatchNorm2d(width) if expansion > 1 else None
        self.depthwise = nn.Conv2d(
            width, width, 3, stride=stride, padding=1, groups=width, bias=False
        )
        self.norm2 = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """The feature maps."""
        y = x
        if self.expand is not None and self.norm1 is not None:
            y = functional.relu6(self.norm1(self.expand(y)))
        y = functional.relu6(self.norm2(self.depthwise(y)))
        y = self.norm3(self.project(y))
        return torch.add(x, y) if self.adds_input else y
