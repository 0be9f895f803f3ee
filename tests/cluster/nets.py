"""Networks of tests, imported by path as a user's own."""

from torch import Tensor, nn


class Small(nn.Module):
    """Takes the images of `tests.images.write_data_set`."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.flatten(images))
