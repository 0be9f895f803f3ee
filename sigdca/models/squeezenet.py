"""SqueezeNet 1.0: Iandola et al. (2016), "AlexNet-level accuracy with 50x fewer parameters"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import he_


class SqueezeNet10(nn.Module):
    """Two convolutions and eight fire modules: 1,248,424 parameters.

    Layers and their order are those of the published Caffe network, so that its weights give its
    results. Two of its habits are not in the paper: the sizes of pooled maps are rounded up, and
    conv10, a 1x1 convolution, has padding 1, which makes its bias a part of the mean (torchvision
    keeps the first habit only). Names have a dot for Caffe's slash: fire2.squeeze1x1.

    Takes float32 [n, 3, 224, 224], or the 227x227 of Caffe's, and gives logits [n, num_classes],
    which a last ReLU keeps from being negative.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        self.fire2 = Fire(96, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.fire4 = Fire(128, 32, 128)
        self.fire5 = Fire(256, 32, 128)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.drop9 = nn.Dropout(0.5)
        self.conv10 = nn.Conv2d(512, num_classes, 1, padding=1)
        he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.relu(self.conv1(x))
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.fire4(self.fire3(self.fire2(x)))
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.fire8(self.fire7(self.fire6(self.fire5(x))))
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.drop9(self.fire9(x))
        x = functional.relu(self.conv10(x))
        return torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side.

    Takes float32 [n, in_channels, h, w] and gives [n, 2 * expand, h, w].
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The feature maps of both, the 1x1's first."""
        x = functional.relu(self.squeeze1x1(x))
        one, three = functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))
        return torch.cat([one, three], 1)
