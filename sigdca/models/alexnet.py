"""AlexNet in the one-tower form of Krizhevsky, "One weird trick" (2014), as torchvision has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import he_


class AlexNet(nn.Module):
    """Five convolutions, three fully connected layers: 61,100,840 parameters.

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
