"""VGG-16: Simonyan and Zisserman (2014), configuration D."""

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
