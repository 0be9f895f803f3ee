"""What is worth labelling: the least certain of a window, no two alike."""

import numpy as np
import pytest

from sigdca.edge.choice import Chooser, Rules, margin_of, shrunk


def logits_of(margin):
    """Logits of three classes whose best is ahead by a margin."""
    first = (1 + margin) / 2
    return np.log(np.array([first, 1 - first, 1e-12], np.float32))


def noise(number, shape=(1, 8, 8)):
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def test_the_margin_is_the_distance_of_two_probabilities():
    assert margin_of(np.array([5, 5, -50], np.float32)) == pytest.approx(0)
    assert margin_of(np.array([900, -900], np.float32)) == 1.0
    assert margin_of(logits_of(0.3)) == pytest.approx(0.3, abs=1e-5)
    assert margin_of(np.array([1], np.float32)) == 1.0


def test_the_least_certain_of_a_window_are_kept_in_their_order():
    chooser = Chooser(Rules(margin=0.8, share=0.2))
    margins = [0.9, 0.7, 0.1, 0.5, 0.3, 0.6, 0.05, 0.75, 0.4, 0.2]
    for number, margin in enumerate(margins):
        chooser.look(noise(number), logits_of(margin), float(number), "m")
    assert not chooser.is_full
    kept = chooser.end()
    assert kept.times_s.tolist() == [2, 6]  # a fifth of ten
    assert kept.margins == pytest.approx([0.1, 0.05], abs=1e-4)
    assert (kept.images[0] == noise(2)).all()
    assert (kept.classes.tolist(), kept.models.tolist()) == ([0, 0], ["m", "m"])
    assert chooser.end() is None


def test_what_is_certain_is_never_kept():
    chooser = Chooser(Rules(margin=0.5, share=1))
    for number in range(10):
        chooser.look(noise(number), logits_of(0.6), 0.0, "m")
    chooser.look(noise(11), np.full(3, np.nan, np.float32), 0.0, "m")
    assert chooser.end() is None


def test_what_is_alike_is_kept_once_also_across_windows():
    chooser = Chooser(Rules(margin=0.5, share=1))
    rng = np.random.default_rng(7)
    for _ in range(2):
        for number in range(3):
            for _ in range(5):
                jitter = rng.integers(-2, 3, (1, 8, 8))
                image = np.clip(noise(number).astype(int) + jitter, 0, 255).astype(np.uint8)
                chooser.look(image, logits_of(0.1), float(number), "m")
        kept = chooser.end()
        assert kept is None or sorted(kept.times_s.tolist()) == [0, 1, 2]
    assert kept is None


def test_a_window_never_holds_more_than_it_may():
    chooser = Chooser(Rules(margin=1, share=0.5), buffer_bytes=64 * 10)
    for number in range(20):
        assert not chooser.is_full
        chooser.look(noise(number), logits_of(0.1), 0.0, "m")
    assert chooser.is_full
    assert len(chooser.end()) == 10
    chooser.look(noise(99), logits_of(0.1), 0.0, "m")
    assert not chooser.is_full


@pytest.mark.parametrize("length", [1, 7, 19, 33])
def test_short_windows_keep_no_more_than_the_share_either(length):
    chooser, kept, models = Chooser(Rules(margin=1, share=0.05)), 0, []
    for number in range(660):
        chooser.look(noise(number), logits_of(0.1), 0.0, str(number // length))
        if number % length == length - 1 and (some := chooser.end()) is not None:
            kept += len(some)
            models += some.models.tolist()
            assert kept <= 0.05 * (number + 1)
    assert kept >= 0.05 * 660 - 2
    assert len(set(models)) >= 20, "each with the model that looked at it"


def test_a_window_is_long_enough_for_one_frame():
    chooser = Chooser(Rules(margin=1, share=0.1), buffer_bytes=32)
    for number in range(9):
        chooser.look(noise(number), logits_of(0.9 - number / 10), float(number), "m")
        assert not chooser.is_full
        assert chooser.end() is None
    chooser.look(noise(9), logits_of(0.5), 9.0, "m")
    assert chooser.is_full
    assert chooser.end().times_s.tolist() == [8.0], "the least certain of all ten"


def test_an_image_shrinks_to_8_by_8_whatever_its_size():
    assert shrunk(np.full((3, 100, 37), 9, np.uint8)).tolist() == [9.0] * 64
    assert shrunk(np.full((1, 4, 4), 9, np.uint8)).shape == (16,)
    halves = np.zeros((1, 16, 16), np.uint8)
    halves[:, 8:] = 200
    assert shrunk(halves).tolist() == [0.0] * 32 + [200.0] * 32
