"""The claims of training on a GPU: images a second, share of its peak, CIFAR-10 to 94 %."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from claims import Claim, at_least, at_most, seen

from sigdca.codec import Graph
from sigdca.codec.graph import infer_shapes
from sigdca.data import load
from sigdca.job import Job, parse_job
from sigdca.loop import TrainTask
from sigdca.loop.network import build_for, initial_model, state_of
from sigdca.loop.work import train_share
from sigdca.models import build, trace
from sigdca.storage import open_store
from sigdca.training import EpochFigures, InMemory, Place
from sigdca.training.speed import PLAIN, Way, step_times

NO_GPU = "benchmarks/training.py --gpu: torch finds no CUDA GPU on this machine; nothing measured"
DEVICE = "cuda"

# Dense bf16 with float32 sums, 10^12 operations a second, of NVIDIA's data sheets; the first name
# that is a part of the card's own counts.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "A100": 312.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


@dataclass(frozen=True)
class Work:
    """A network with as many images a step as fill a card.

    Attributes:
        name: in `MODELS`.
        batch: images a step.
        steps: of an epoch.
        share: of the card's peak that is to be reached.
    """

    name: str
    batch: int
    steps: int
    share: float


NETWORKS = [Work("alexnet", 512, 40, 0.2), Work("vgg-16", 128, 40, 0.35)]
SHAPE = (3, 224, 224)
WAYS = {
    "channels last": Way(channels_last=True),
    "bf16": Way("bf16"),
    "bf16, channels last": Way("bf16", channels_last=True),
    "bf16, channels last, compiled": Way("bf16", channels_last=True, compiled=True),
}
# airbench94's time on an A100 (Jordan, arXiv 2404.00498), with a network and tricks of its own.
TO_94_S = 2.6
CIFAR = """
name: cifar10-94
model: cifar10_net:ResNet9
data: {source: cifar10}
train:
  epochs: 16
  batch_size: 512
  learning_rate: 0.4
  warm_up: 0.2
  weight_decay: 5.0e-4
  label_smoothing: 0.1
  precision: bf16
  augment: {shift: 0.125, flip: true}
"""


def step_flops(graph: Graph) -> int:
    """Operations of one image's step: a multiplication and an addition count as two.

    Forwards once, backwards twice as many: the gradients of weights and of inputs; those of the
    network's own input are not computed. Convolutions and FC layers alone.
    """
    shapes, total = infer_shapes(graph), 0
    for index, op in enumerate(graph.ops):
        given, made = shapes[op.inputs[0]], shapes[index + 1]
        if op.kind == "conv":
            kernel, groups = op.attrs["kernel"], op.attrs["groups"]
            assert isinstance(kernel, tuple)
            assert isinstance(groups, int)
            each = kernel[0] * kernel[1] * given[0] // groups
        elif op.kind == "fc":
            each = int(np.prod(given))
        else:
            continue
        passes = 2 if op.inputs == (0,) else 3
        total += 2 * passes * each * int(np.prod(made))
    return total


def peak_flops(card: str) -> float | None:
    """Operations a second by the card's name; None for one that is not in the table."""
    return next((1e12 * peak for name, peak in PEAK_TFLOPS.items() if name in card), None)


def job_of(work: Work) -> Job:
    """Two epochs of it, of which the first warms up; the data gives the number of classes."""
    return parse_job(
        f"{{name: gpu, model: {work.name}, data: {{source: cifar10}}, train: {{epochs: 2, "
        f"batch_size: {work.batch}, learning_rate: 0.001, precision: bf16}}}}",
        "gpu.yaml",
    )


def trained(job: Job, data: InMemory, seed: int = 0) -> tuple[torch.nn.Module, list[EpochFigures]]:
    """By the code that a worker runs."""
    with tempfile.TemporaryDirectory() as folder:
        task = TrainTask(
            key="gpu",
            model=job.model,
            state=state_of(initial_model(job.model_copy(update={"seed": seed}))),
            source=job.data,
            config=job.train,
            train=job.train,
            retrained=None,
            seed=seed,
            checkpoints=open_store(folder),
        )
        place = Place(device=DEVICE)
        return train_share(
            task, task.state, data, place=place, resume=None, on_epoch=lambda *_: None
        )


def random_images(count: int, shape: tuple[int, int, int]) -> InMemory:
    """No data set: speed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (min(count, 512), *shape)).astype(np.uint8)
    images = np.concatenate([images] * -(-count // len(images)))[:count]
    return InMemory(images, rng.integers(0, 10, count))


def plain_rate(work: Work, data: InMemory) -> float:
    """Images a second of a plain loop in bf16, channels last, without its first epoch.

    As torch is by default: not told to be repeatable, which sigdca's training is.
    """
    torch.use_deterministic_algorithms(False)
    model: Any = build_for(work.name, "cifar10").to(DEVICE)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(2):
        _wait()
        start = time.perf_counter()
        for step in range(work.steps):
            taken = slice(step * work.batch, (step + 1) * work.batch)
            images = torch.from_numpy(data.images[taken]).to(DEVICE).float() / 255
            labels = torch.from_numpy(data.labels[taken]).to(DEVICE)
            optimizer.zero_grad()
            with torch.autocast(DEVICE, torch.bfloat16):
                logits = model(images.to(memory_format=torch.channels_last))
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        _wait()
        elapsed = time.perf_counter() - start
    return work.steps * work.batch / elapsed


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def speed(work: Work, rounds: int, card: str) -> list[Claim]:
    """Images a second, by a plain loop's, and as a share of the card's peak."""
    data = random_images(work.steps * work.batch, SHAPE)
    rates, plain = [], []
    for _ in range(rounds):
        rates.append(trained(job_of(work), data)[1][-1].images_per_s)
        plain.append(plain_rate(work, data))
    where = f"{work.name} at 224, batch {work.batch}, bf16, {card}"
    ratios = [mine / theirs for mine, theirs in zip(rates, plain, strict=True)]
    claims = [
        seen(f"{where}: images a second", rates, "images/s"),
        at_least(f"{where}: images a second, by a plain loop", ratios, 0.97, "ratio", "torch"),
    ]
    peak = peak_flops(card)
    if peak is not None:
        flops = step_flops(trace(build(work.name), SHAPE, 1.0))
        shares = [rate * flops / peak for rate in rates]
        claims.append(
            at_least(f"{where}: share of the card's peak", shares, work.share, "share", "NVIDIA")
        )
    return claims


def ways(
    name: str, batch: int, rounds: int, device: str, measured: Mapping[str, Way] = WAYS
) -> list[Claim]:
    """A step's time by plain float32's, of each way of computing, in turns in this process."""
    data = random_images(batch, SHAPE)
    images = torch.from_numpy(data.images).to(device).float() / 255
    labels = torch.from_numpy(data.labels).to(device)
    model = build(name).to(device)
    plain, *others = step_times(
        model, images, labels, [PLAIN, *measured.values()], num_steps=rounds, limit_s=600.0
    )
    where = f"{name} at 224, batch {batch}, {device}"
    claims = [seen(f"{where}: plain float32's step", plain, "s")]
    for title, times in zip(measured, others, strict=True):
        ratios = [mine / theirs for mine, theirs in zip(times, plain, strict=True)]
        claims.append(seen(f"{where}: {title}: step, by plain float32's", ratios, "ratio"))
    return claims


def to_94(rounds: int, card: str) -> list[Claim]:
    """Seconds of training, evaluation not counted, after a warm-up; and what it comes to."""
    job = parse_job(CIFAR, "cifar10.yaml")
    train, test = load("cifar10", "train"), load("cifar10", "test")
    data = InMemory(train.images, train.labels)
    few, one = slice(0, 2 * job.train.batch_size), job.train.model_copy(update={"epochs": 1})
    warm = job.model_copy(update={"train": one})
    trained(warm, InMemory(data.images[few], data.labels[few]))
    times, accuracies = [], []
    for seed in range(rounds):
        model, figures = trained(job, data, seed)
        per_epoch = len(data.images) // job.train.batch_size * job.train.batch_size
        times.append(sum(per_epoch / epoch.images_per_s for epoch in figures))
        accuracies.append(accuracy(model, test.images, test.labels))
    where = f"CIFAR-10, ResNet9 in {job.train.epochs} epochs, {card}"
    return [
        at_least(f"{where}: accuracy", accuracies, 94.0, "%", "airbench94"),
        at_most(f"{where}: training", times, TO_94_S, "s", "airbench94, A100"),
    ]


def accuracy(model: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Percent of the images that the model knows."""
    model = model.to(DEVICE).eval()
    found = []
    with torch.no_grad():
        for part in torch.from_numpy(images).split(1000):
            found.append(model(part.to(DEVICE).float() / 255).argmax(1).cpu())
    return 100 * float((torch.cat(found).numpy() == labels).mean())


def measure_gpu(quick: bool) -> list[Claim]:
    """On a CUDA GPU: images a second, share of its peak, CIFAR-10 to 94 percent."""
    if not torch.cuda.is_available():
        raise SystemExit(NO_GPU)
    card, rounds = torch.cuda.get_device_name(), 1 if quick else 3
    claims: list[Claim] = []
    for work in NETWORKS:
        claims += speed(work, rounds, card)
        claims += ways(work.name, work.batch, 5 if quick else 15, DEVICE)
    return claims + to_94(rounds, card)
