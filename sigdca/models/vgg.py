"""VGG-16: Simonyan and Zisserman (2014), configuration D, and its form for 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import he_


class Vgg16(nn.Module):
    """Thirteen 3x3 convolutions, three fully connected layers: 138,357,544 parameters.

    Takes float32 [n, 3, 224, 224] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 64, 3, padding=1)
        self.conv1_2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv2_1 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv2_2 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv3_1 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv3_2 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv3_3 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv4_1 = nn.Conv2d(256, 512, 3, padding=1)
        self.conv4_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv4_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_1 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_2 = nn.Conv2d(512, 512, 3, padding=1)
        self.conv5_3 = nn.Conv2d(512, 512, 3, padding=1)
        self.fc6 = nn.Linear(512 * 7 * 7, 4096)
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.drop7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes)
        he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.relu(self.conv1_1(x))
        x = functional.max_pool2d(functional.relu(self.conv1_2(x)), 2, 2)
        x = functional.relu(self.conv2_1(x))
        x = functional.max_pool2d(functional.relu(self.conv2_2(x)), 2, 2)
        x = functional.relu(self.conv3_1(x))
        x = functional.relu(self.conv3_2(x))
        x = functional.max_pool2d(functional.relu(self.conv3_3(x)), 2, 2)
        x = functional.relu(self.conv4_1(x))
        x = functional.relu(self.conv4_2(x))
        x = functional.max_pool2d(functional.relu(self.conv4_3(x)), 2, 2)
        x = functional.relu(self.conv5_1(x))
        x = functional.relu(self.conv5_2(x))
        x = functional.max_pool2d(functional.relu(self.conv5_3(x)), 2, 2)
        x = torch.flatten(x, 1)
        x = self.drop6(functional.relu(self.fc6(x)))
        x = self.drop7(functional.relu(self.fc7(x)))
        logits: Tensor = self.fc8(x)
        return logits


class Vgg16Cifar(nn.Module):
    """VGG-16's convolutions with batch norm, and two small FC layers: 14,986,698 parameters.

    The form that is common for CIFAR-10 (Zagoruyko 2015, "92.45% on CIFAR-10 in Torch"). Takes
    float32 [n, 3, 32, 32] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        channels = 3
        for block, (width, depth) in enumerate(_BLOCKS, start=1):
            for layer in range(1, depth + 1):
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                self.add_module(f"conv{block}_{layer}", conv)
                self.add_module(f"norm{block}_{layer}", nn.BatchNorm2d(width))
                channels = width
        self.fc6 = nn.Linear(channels, 512)
        self.fc7 = nn.Linear(512, num_classes)
        he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        for block, (_, depth) in enumerate(_BLOCKS, start=1):
            for layer in range(1, depth + 1):
                conv = self.get_submodule(f"conv{block}_{layer}")
                norm = self.get_submodule(f"norm{block}_{layer}")
                x = functional.relu(norm(conv(x)))
            x = functional.max_pool2d(x, 2, 2)
        x = torch.flatten(x, 1)
        logits: Tensor = self.fc7(functional.relu(self.fc6(x)))
        return logits


_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions
