import numpy as np
import pytest
import torch
from torch import nn

from sigdca.errors import SigdcaError
from sigdca.job.schema import Augment, Optimisation
from sigdca.training import Place, load_checkpoint, save_checkpoint, train_

CONFIG = Optimisation(
    epochs=4, learning_rate=0.1, augment=Augment(shift=0.1, rotate=10, scale=0.1)
)


def data(num=256):
    """Two classes that differ by where the bright half is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, num).astype(np.uint8)
    images = rng.integers(0, 60, (num, 1, 8, 8)).astype(np.uint8)
    images[labels == 1, :, :4] += 150
    images[labels == 0, :, 4:] += 150
    return images, labels


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))


def run(model, config=CONFIG, **options):
    images, labels = data()
    settings = {"input_scale": 1 / 256, "batch_size": 32, "seed": 3} | options
    return train_(model, images, labels, config, **settings)


def bits(model):
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def test_it_learns():
    model = network()
    figures = run(model)
    assert [figure.epoch for figure in figures] == [1, 2, 3, 4]
    assert figures[-1].loss < 0.3 * figures[0].loss
    images, labels = data()
    with torch.no_grad():
        found = model(torch.from_numpy(images) / 256).argmax(1).numpy()
    assert (found == labels).mean() > 0.98


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, second, other = network(), network(), network()
    run(first)
    run(second)
    run(other, seed=4)
    assert bits(first) == bits(second)
    assert bits(first) != bits(other)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resume_from_a_file_gives_the_bits_of_never_stopping(tmp_path, stop, optimizer):
    config = CONFIG.model_copy(update={"optimizer": optimizer, "learning_rate": 0.01})
    whole = network()
    expected = run(whole, config)

    class StoppedError(Exception):
        pass

    def stop_there(figures, checkpoint):
        save_checkpoint(tmp_path, checkpoint())
        if figures.epoch == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(network(), config, on_epoch=stop_there)
    resumed = network()
    figures = run(resumed, config, resume=load_checkpoint(tmp_path))
    assert bits(resumed) == bits(whole)
    assert [figure.loss for figure in figures] == [figure.loss for figure in expected]


def test_two_ranks_see_all_images_of_a_batch_once():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 2)

        def forward(self, x):
            seen.extend(x.flatten(1).sum(1).tolist())
            return self.fc(x.flatten(1))

    config = Optimisation(epochs=1)
    for rank in range(2):
        run(Spy(), config, place=Place(rank, 2))
    images, _ = data()
    assert sorted(seen) == sorted((images.reshape(256, -1) / np.float32(256)).sum(1).tolist())


class Calls:
    """A hook that writes down when it is called and what it finds."""

    def __init__(self):
        self.names = []

    def before_epoch(self, model, epoch, num_epochs):
        self.names.append(f"epoch {epoch}/{num_epochs}")

    def after_backward(self, model):
        assert all(parameter.grad is not None for parameter in model.parameters())
        self.names.append("backward")

    def after_step(self, model):
        self.names.append("step")

    def after_epoch(self, model, epoch, num_epochs):
        self.names.append(f"end {epoch}/{num_epochs}")


def test_the_hook_is_called_in_its_places():
    hook = Calls()
    run(network(), Optimisation(epochs=2), hook=hook, batch_size=128)
    once = ["backward", "step"] * 2
    first, second = ["epoch 0/2", *once, "end 0/2"], ["epoch 1/2", *once, "end 1/2"]
    assert hook.names == first + second


def test_a_diverged_loss_is_an_error_that_says_what_to_try():
    config = Optimisation(epochs=3, learning_rate=1e30)
    with pytest.raises(SigdcaError, match=r"the loss is .*; try a learning_rate below 1e\+30"):
        run(network(), config)


def test_fewer_images_than_a_batch_is_an_error():
    with pytest.raises(SigdcaError, match="batch_size: 512, but there are 256 images"):
        run(network(), batch_size=512)
