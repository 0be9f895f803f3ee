from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from sigdca.compression import PruneHook, QuantizeHook
from sigdca.errors import DivergedError, SigdcaError
from sigdca.job.recipe import Augment, Optimisation
from sigdca.training import InMemory, Parallel, Place, load_checkpoint, save_checkpoint, train_

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
    return train_(model, InMemory(images, labels), config, **settings)


def bits(model):
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def conv_network():
    """Its weights have two orders in memory, and a batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)),
    )


def accuracy(model):
    images, labels = data()
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(images) / 256).argmax(1).numpy()
    return (found == labels).mean()


def test_it_learns():
    model = network()
    figures = run(model)
    assert [figure.epoch for figure in figures] == [1, 2, 3, 4]
    assert figures[-1].loss < 0.3 * figures[0].loss
    assert accuracy(model) > 0.98


def test_lars_learns_at_the_rate_that_its_documents_give():
    losses = []
    for rate in (10.0, 0.05):
        config = Optimisation(epochs=10, optimizer="lars", learning_rate=rate, warm_up=0.1)
        losses.append([figure.loss for figure in run(network(), config, batch_size=64)])
    fast, slow = losses
    assert fast[-1] < 0.1 * fast[0]
    assert slow[-1] > 0.8 * slow[0], "at the rate of others its layers hardly move"


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, second, other = network(), network(), network()
    run(first)
    run(second)
    run(other, seed=4)
    assert bits(first) == bits(second)
    assert bits(first) != bits(other)


def test_bf16_learns_as_well():
    plain, mixed = conv_network(), conv_network()
    plain_figures = run(plain)
    mixed_figures = run(mixed, precision="bf16")
    assert bits(plain) != bits(mixed)
    for one, other in zip(plain_figures, mixed_figures, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=0.1, abs=0.01)
    assert accuracy(plain) > 0.98
    assert accuracy(mixed) > 0.98


def test_bf16_computes_in_bf16_and_keeps_float32_weights_in_order():
    seen = []
    model = conv_network()
    model[4].register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    checkpoints = []
    run(
        model,
        CONFIG.model_copy(update={"epochs": 1}),
        precision="bf16",
        on_epoch=lambda _, checkpoint: checkpoints.append(checkpoint()),
    )
    for inputs, output in seen:
        assert (inputs.dtype, output.dtype) == (torch.bfloat16, torch.bfloat16)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
    state = dict(model.state_dict())
    assert state.pop("1.num_batches_tracked") == 8
    for value in state.values():
        assert value.dtype == torch.float32
        assert value.is_contiguous()
        assert value.numpy().flags.c_contiguous
    (moments,) = [checkpoint.optimizer for checkpoint in checkpoints]
    assert all(moment["momentum_buffer"].dtype == torch.float32 for moment in moments.values())


def test_smoothed_labels_keep_the_network_from_being_too_sure():
    sure, smoothed = network(), network()
    run(sure, CONFIG.model_copy(update={"epochs": 6}))
    run(smoothed, CONFIG.model_copy(update={"epochs": 6}), label_smoothing=0.3)
    images = torch.from_numpy(data()[0]) / 256
    with torch.no_grad():
        most = [model(images).softmax(1).max(1).values.mean() for model in (sure, smoothed)]
    assert most[1] < most[0] - 0.05
    assert accuracy(smoothed) > 0.8


def test_fp16_skips_the_steps_whose_scaled_gradients_overflow():
    model = network()
    scales = []
    config = Optimisation(epochs=2, learning_rate=1e-6)
    run(
        model,
        config,
        precision="fp16",
        input_scale=1.0,
        on_epoch=lambda _, checkpoint: scales.append(checkpoint().scaler["scale"]),
    )
    assert 1 <= scales[1] <= scales[0] < 2**16
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert bits(model) != bits(network())


def test_parts_of_a_step_add_up_to_it():
    whole, parts = network(), network()
    figures = run(whole)
    in_parts = run(parts, accumulation_steps=4)
    for one, other in zip(figures, in_parts, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert bits(whole) != bits(parts)


class Short(InMemory):
    """As a stream whose batches do not divide by its workers: the last images do not come."""

    def images_per_step(self, batch_size, world_size):
        return batch_size - 2

    def batches(self, *which):
        for images, labels in super().batches(*which):
            yield images[:-2], labels[:-2]


def test_images_count_in_full_where_a_batch_has_fewer():
    images, labels = data()
    model = network()
    still = Optimisation(epochs=1, learning_rate=1e-30, augment=Augment())
    (found,) = train_(
        model, Short(images, labels), still, input_scale=1 / 256, batch_size=32, seed=3
    )
    kept = list(Short(images, labels).batches(0, 32, 3, Place()))
    pixels = torch.from_numpy(np.concatenate([part for part, _ in kept])) / 256
    classes = torch.from_numpy(np.concatenate([part for _, part in kept]))
    with torch.no_grad():
        logits = network()(pixels)
        mean = nn.functional.cross_entropy(logits, classes)
    assert found.loss == pytest.approx(float(mean), rel=1e-5)
    assert found.accuracy == 100 * int((logits.argmax(1) == classes).sum()) / (8 * 30)


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 3}, {"label_smoothing": 0.3}])
def test_accuracy_is_that_of_each_image_at_its_own_step(options):
    known = []
    model = network()
    images, labels = data()
    batches = InMemory(images, labels).batches(0, 32, 3, Place())
    wanted = iter([label for _, classes in batches for label in classes.tolist()])

    def look(_model, _inputs, logits):
        known.extend(found == next(wanted) for found in logits.argmax(1).tolist())

    model.register_forward_hook(look)
    (found,) = run(model, CONFIG.model_copy(update={"epochs": 1}), **options)
    assert len(known) == 256
    assert found.accuracy == 100 * sum(known) / 256
    assert 50 < found.accuracy < 100


def test_it_goes_on_from_figures_without_accuracy(tmp_path):
    one = Optimisation(epochs=1)
    run(network(), one, on_epoch=lambda _, checkpoint: save_checkpoint(tmp_path, checkpoint()))
    kept = load_checkpoint(tmp_path)
    del kept.figures[0]["accuracy"]  # of an older version
    first, *others = run(network(), resume=kept)
    assert first.accuracy is None
    assert all(figure.accuracy > 50 for figure in others)


def test_a_model_sees_no_more_images_at_once_than_a_part_has():
    seen = []
    model = network()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    run(model, Optimisation(epochs=1), accumulation_steps=8)
    assert seen == [4] * 64


def test_every_second_it_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr("sigdca.training.loop.TELL_EVERY_S", 0.0)
    told = []
    figures = run(network(), Optimisation(epochs=2), on_step=told.append)
    assert [(done.epoch, done.step) for done in told] == [
        (e, s) for e in (1, 2) for s in range(1, 9)
    ]
    assert {done.num_steps for done in told} == {8}
    assert all(done.images_per_s > 0 for done in told)
    for number, done in enumerate(told, 1):
        seconds_of_a_step = 32 / done.images_per_s
        assert done.left_s == pytest.approx((16 - number) * seconds_of_a_step)
    mean = np.mean([done.loss for done in told if done.epoch == 2])
    assert mean == pytest.approx(figures[1].loss)


def test_the_time_of_an_epoch_is_split_into_its_parts():
    (first, *_) = run(network(), Optimisation(epochs=1))
    assert first.input_s > 0
    assert first.compute_s > 0
    assert first.communication_s == 0
    assert first.sent_bytes == 0
    assert 256 / (first.input_s + first.compute_s) == pytest.approx(first.images_per_s)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("stop", [1, 3, 4])
@pytest.mark.parametrize(
    ("make", "precision"), [(network, "float32"), (conv_network, "bf16"), (network, "fp16")]
)
def test_resume_from_a_file_gives_the_bits_of_never_stopping(
    tmp_path, stop, optimizer, make, precision
):
    config = CONFIG.model_copy(update={"optimizer": optimizer, "learning_rate": 0.01})
    whole = make()
    expected = run(whole, config, precision=precision)

    class StoppedError(Exception):
        pass

    def stop_there(figures, checkpoint):
        save_checkpoint(tmp_path, checkpoint())
        if figures.epoch == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(make(), config, precision=precision, on_epoch=stop_there)
    resumed = make()
    figures = run(resumed, config, precision=precision, resume=load_checkpoint(tmp_path))
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

    def after_last_step(self, model):
        self.names.append("last")

    def after_epoch(self, model, epoch, num_epochs):
        self.names.append(f"end {epoch}/{num_epochs}")


def test_the_hook_is_called_in_its_places():
    hook = Calls()
    run(network(), Optimisation(epochs=2), hook=hook, batch_size=128)
    once = ["backward", "step"] * 2
    first = ["epoch 0/2", *once, "last", "end 0/2"]
    second = ["epoch 1/2", *once, "last", "end 1/2"]
    assert hook.names == first + second


def test_an_epochs_sparsity_counts_what_movement_prunes_at_its_end():
    hook = PruneHook({"1": 0.5, "3": 0.5}, "one-shot", importance="movement")
    (figures,) = run(network(), Optimisation(epochs=1), hook=hook)
    assert figures.sparsity == 0.5


def test_an_epochs_sparsity_is_that_of_rounded_weights():
    hook = QuantizeHook({"1.weight": 0.2, "3.weight": 0.2}, 0.0)
    figures = run(network(), Optimisation(epochs=2), hook=hook)
    assert min(figure.sparsity for figure in figures) > 0.3


def test_a_diverged_loss_is_an_error_that_says_what_to_try():
    config = Optimisation(epochs=3, learning_rate=1e30)
    with pytest.raises(SigdcaError, match=r"the loss is .*; try a learning_rate below 1e\+30"):
        run(network(), config)


def test_a_loss_that_diverges_under_quantize_is_found_at_the_epochs_end():
    hook = QuantizeHook({"1.weight": 0.05}, 1e-4)
    config = Optimisation(epochs=3, learning_rate=1e30)
    with pytest.raises(DivergedError, match="epoch 1: the loss is nan"):
        run(network(), config, hook=hook, batch_size=2)  # levels are counted on the way


def test_fewer_images_than_a_batch_is_an_error():
    with pytest.raises(SigdcaError, match="batch_size: 512, but there are 256 images"):
        run(network(), batch_size=512)


class _Rates:
    """A hook that notes the learning rate of each step."""

    def __init__(self, monkeypatch):
        self.rates = []
        step = torch.optim.SGD.step

        def noted(optimizer, *args):
            self.rates.append(optimizer.param_groups[0]["lr"])
            return step(optimizer, *args)

        monkeypatch.setattr(torch.optim.SGD, "step", noted)


@pytest.mark.parametrize("schedule_lr", ["cosine", "constant"])
def test_the_rate_grows_first_and_then_follows_its_schedule(monkeypatch, schedule_lr):
    noted = _Rates(monkeypatch)
    config = Optimisation(epochs=5, learning_rate=0.4, warm_up=0.25, schedule_lr=schedule_lr)
    run(network(), config)
    assert len(noted.rates) == 40
    grown = noted.rates[:10]
    assert grown == pytest.approx([0.4 * (step + 1) / 11 for step in range(10)])
    assert noted.rates[10] == pytest.approx(0.4)
    if schedule_lr == "constant":
        assert set(noted.rates[10:]) == {0.4}
    else:
        assert noted.rates[10:] == sorted(noted.rates[10:], reverse=True)
        assert noted.rates[-1] < 0.01


class Elsewhere(Parallel):
    """On a device whose values nobody can read, as if it were far away."""

    def total(self, value):
        return 1.0

    def sparsity(self):
        return 0.0

    def finish(self):
        assert all(value.device.type == "meta" for value in self.model.state_dict().values())


def test_model_and_batches_are_on_the_workers_device_and_nothing_is_fetched(monkeypatch):
    """torch refuses to mix devices, and to tell a value on `meta`, for which a GPU would wait."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not for `meta`
    seen = []
    model = conv_network()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].device.type))
    options = {"place": Place(device="meta"), "strategy": Elsewhere, "accumulation_steps": 2}
    hook = PruneHook({"4": 0.5}, importance="movement")
    hook.after_last_step = lambda *_: None  # it counts the zeros
    augment = Augment(shift=0.1, rotate=10, scale=0.1, flip=True)
    config = Optimisation(epochs=1, augment=augment)
    run(model, config, hook=hook, **options)
    assert seen == ["meta"] * 16


def drawing_network():
    """Draws random numbers in each step, and keeps statistics of what it has seen."""
    return nn.Sequential(conv_network(), nn.Dropout(0.2))


@pytest.mark.parametrize("settings", [{"precision": "bf16"}, {"compiled": True}])
def test_comparing_ways_changes_nothing_of_the_training(monkeypatch, settings):
    monkeypatch.setattr("sigdca.training.loop.COMPARED_FROM", 32)
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: None)  # takes a minute
    told, silent, watched = [], drawing_network(), drawing_network()
    expected = run(silent, **settings)
    figures = run(watched, on_speed=told.append, **settings)
    assert bits(watched) == bits(silent)
    assert [figure.loss for figure in figures] == [figure.loss for figure in expected]
    (choice,) = told
    assert choice.way == ("compiled" if "compiled" in settings else "bf16, channels last")
    assert choice.num_steps == 5
    assert choice.ratio > 0


@pytest.mark.parametrize(("precision", "least"), [("float32", 32), ("bf16", 33)])
def test_nothing_is_compared_in_float32_or_in_a_short_stage(monkeypatch, precision, least):
    monkeypatch.setattr("sigdca.training.loop.COMPARED_FROM", least)
    told = []
    run(conv_network(), precision=precision, on_speed=told.append)
    assert told == []
