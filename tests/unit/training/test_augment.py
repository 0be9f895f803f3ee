import pytest
import torch
import torch.nn.functional as F

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
    assert centre(moved).abs().max() == 2  # 2.8 pixels at the most, and whole ones
    turned = Augment(shift=0.1, rotate=1e-3)
    moved = augment_batch(spot(), turned, torch.Generator().manual_seed(1))
    assert 2.0 < centre(moved).abs().max() <= 2.8 + 1e-2


@pytest.mark.parametrize("side", [(28, 28), (32, 32), (17, 56)])
def test_a_shift_alone_moves_whole_pixels(side):
    images = 1 + torch.arange(6.0 * side[0] * side[1]).reshape(3, 2, *side)  # no two are alike
    config = Augment(shift=0.125)
    moved = augment_batch(images, config, torch.Generator().manual_seed(2))
    most = [int(0.125 * length) for length in side]
    padded = F.pad(images, (most[1], most[1], most[0], most[0]))
    for image, wide in zip(moved, padded, strict=True):
        places = [
            (y, x)
            for y in range(2 * most[0] + 1)
            for x in range(2 * most[1] + 1)
            if torch.equal(image, wide[:, y : y + side[0], x : x + side[1]])
        ]
        assert len(places) == 1


def test_every_whole_shift_occurs():
    moved = augment_batch(spot(2000), Augment(shift=0.15), torch.Generator().manual_seed(3))
    for axis in centre(moved):
        assert sorted(set(axis.tolist())) == [-4, -3, -2, -1, 0, 1, 2, 3, 4]


def test_a_shift_of_less_than_a_pixel_moves_nothing():
    images = spot()
    assert torch.equal(augment_batch(images, Augment(shift=0.03), torch.Generator()), images)


def test_half_of_the_images_are_mirrored():
    images = torch.rand((2000, 3, 5, 6), generator=torch.Generator().manual_seed(0))
    flipped = augment_batch(images, Augment(flip=True), torch.Generator().manual_seed(1))
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 900 < int(mirrored.sum()) < 1100


def test_a_mirror_leaves_the_other_changes_as_they_are():
    images = torch.rand((64, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    config = {"shift": 0.1, "rotate": 10, "scale": 0.1}
    plain = augment_batch(images, Augment(**config), torch.Generator().manual_seed(1))
    both = augment_batch(images, Augment(**config, flip=True), torch.Generator().manual_seed(1))
    same = (both == plain).flatten(1).all(1)
    mirrored = (both == plain.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert same.any()
    assert mirrored.any()


def test_a_rotation_keeps_the_middle_where_it_is():
    turned = augment_batch(spot(), Augment(rotate=45), torch.Generator().manual_seed(1))
    assert centre(turned).abs().max() < 0.05


def test_a_rotation_of_a_wide_image_is_that_of_the_square_around_it():
    square = torch.zeros(64, 1, 128, 128)
    square[:, :, 56:72, 50:78] = 1.0
    config = Augment(rotate=30, scale=0.1)
    whole = augment_batch(square, config, torch.Generator().manual_seed(1))
    wide, high = square[:, :, 40:88], square[:, :, :, 40:88]
    for part, within in ((wide, whole[:, :, 40:88]), (high, whole[:, :, :, 40:88])):
        turned = augment_batch(part, config, torch.Generator().manual_seed(1))
        assert (turned - within).abs().max() < 1e-3


@pytest.mark.parametrize(
    "config",
    [Augment(shift=0.1), Augment(rotate=20), Augment(scale=0.2), Augment(shift=0.1, flip=True)],
)
def test_the_generator_alone_decides(config):
    first, second, other = (
        augment_batch(spot(), config, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
