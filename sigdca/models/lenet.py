"""LeNet-300-100 and LeNet-5 (LeCun et al. 1998) in the forms that compression papers use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sigdca.models.init import xavier_


class LeNet300100(nn.Module):
    """784-300-100-10 with ReLU: 266,610 parameters.

    Takes float32 [n, 1, 28, 28] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.ip1 = nn.Linear(28 * 28, 300)
        self.ip2 = nn.Linear(300, 100)
        self.ip3 = nn.Linear(100, num_classes)
        xavier_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = torch.flatten(x, 1)
        x = functional.relu(self.ip1(x))
        x = functional.relu(self.ip2(x))
        logits: Tensor = self.ip3(x)
        return logits


class LeNet5(nn.Module):
    """Caffe's LeNet, with no ReLU after the convolutions: 431,080 parameters.

    Caffe rounds the size of a pooled map up; here 24 and 8 halve evenly, so it is the same.
    Takes float32 [n, 1, 28, 28] and gives logits [n, num_classes].
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(50 * 4 * 4, 500)
        self.ip2 = nn.Linear(500, num_classes)
        xavier_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = functional.max_pool2d(self.conv1(x), 2, 2)
        x = functional.max_pool2d(self.conv2(x), 2, 2)
        x = functional.relu(self.ip1(torch.flatten(x, 1)))
        logits: Tensor = self.ip2(x)
        return logits
