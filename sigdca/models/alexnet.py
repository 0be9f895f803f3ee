"""AlexNet: Krizhevsky's one-tower form of 2014, Caffe's of 2012, and one for 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import he_


class AlexNet(nn.Module):
    """Five convolutions, three fully connected layers: 61,100,840 parameters.

    The one-tower form of Krizhevsky, "One weird trick" (2014), as torchvision has it.

    Takes float32 [n, 3, 224, 224] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.drop6 = nn.Dropout(0.5)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.drop7 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 3, 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 3, 2)
        x = functional.relu(self.conv3(x))
        x = functional.relu(self.conv4(x))
        x = functional.max_pool2d(functional.relu(self.conv5(x)), 3, 2)
        x = torch.flatten(x, 1)
        x = functional.relu(self.fc6(self.drop6(x)))
        x = functional.relu(self.fc7(self.drop7(x)))
        logits: Tensor = self.fc8(x)
        return logits


class AlexNetCaffe(nn.Module):
    """Caffe's `bvlc_alexnet`, the two-tower form of 2012 with its norms: 60,965,224 parameters.

    Compression papers start from it. The towers are groups of conv2, conv4 and conv5.

    Takes float32 [n, 3, 227, 227] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes)
        he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.max_pool2d(self.norm1(functional.relu(self.conv1(x))), 3, 2)
        x = functional.max_pool2d(self.norm2(functional.relu(self.conv2(x))), 3, 2)
        x = functional.relu(self.conv3(x))
        x = functional.relu(self.conv4(x))
        x = functional.max_pool2d(functional.relu(self.conv5(x)), 3, 2)
        x = torch.flatten(x, 1)
        x = self.drop6(functional.relu(self.fc6(x)))
        x = self.drop7(functional.relu(self.fc7(x)))
        logits: Tensor = self.fc8(x)
        return logits


class AlexNetCifar(nn.Module):
    """AlexNet's layers with smaller windows for 32x32 images: 28,714,826 parameters.

    Takes float32 [n, 3, 32, 32] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.drop6 = nn.Dropout(0.5)
        self.fc6 = nn.Linear(256 * 3 * 3, 4096)
        self.drop7 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        he_(self)

    forward = AlexNet.forward
