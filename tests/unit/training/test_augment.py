import pytest
import torch

from sigdca.job import Augment
from sigdca.training.augment import augment_batch


def spot(num=64):
    images = torch.zeros(num, 1, 28, 28)
    images[:, :, 13:15, 13:15] = 1.0
    return images


def centre(images):
    """Centre of mass in pixels from the image's middle, per image."""
    where = torch.arange(28.0) - 13.5
    mass = images.sum((1, 2, 3))
    x = (images.sum((1, 2)) * where).sum(1) / mass
    y = (images.sum((1, 3)) * where).sum(1) / mass
    return torch.stack([x, y])


def test_nothing_asked_for_changes_nothing():
    images = spot()
    assert augment_batch(images, Augment(), torch.Generator()) is images


def test_a_shift_is_a_fraction_of_the_side_at_most():
    moved = augment_batch(spot(), Augment(shift=0.1), torch.Generator().manual_seed(1))
    largest = centre(moved).abs().max()
    assert 2.0 < largest <= 2.8 + 1e-3


def test_a_rotation_keeps_the_middle_where_it_is():
    turned = augment_batch(spot(), Augment(rotate=45), torch.Generator().manual_seed(1))
    assert centre(turned).abs().max() < 0.05


@pytest.mark.parametrize("config", [Augment(shift=0.1), Augment(rotate=20), Augment(scale=0.2)])
def test_the_generator_alone_decides(config):
    first, second, other = (
        augment_batch(spot(), config, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
