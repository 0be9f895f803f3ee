"""What sigdca is measured against: a plain torch loop, under torchrun with torch's DDP.

Prints JSON: the seconds of each step on random images, or with `--accuracy` the percentage of
MNIST's test images that it knows after as many epochs as that took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from sigdca.models import build


def main() -> None:
    """Trains on random images, or on MNIST until it is accurate enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--shape", type=int, nargs=3)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--accuracy", type=float, help="train on MNIST until so many percent")
    parser.add_argument("--epochs", type=int, help="of MNIST, before it is tested")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    found = steps(chosen) if chosen.accuracy is None else accurate(chosen)
    if found:
        json.dump(found, sys.stdout)


def steps(chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each step; nothing in all processes but the first."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    model = build(chosen.model)
    if world_size > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    rng = np.random.default_rng(rank)
    share = chosen.batch // world_size
    count = min(256, share * chosen.steps)
    images = torch.from_numpy(rng.integers(0, 256, (count, *chosen.shape)).astype(np.uint8))
    labels = torch.from_numpy(rng.integers(0, 10, count))
    times = []
    model.train()
    for step in range(chosen.steps):
        taken = torch.arange(step * share, (step + 1) * share) % count
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[taken].float() / 255), labels[taken])
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter())
    if world_size > 1:
        dist.destroy_process_group()
    return {"step_s": np.diff(times).tolist()} if rank == 0 else {}


def accurate(chosen: argparse.Namespace) -> dict[str, Any]:
    """MNIST, SGD with momentum, cosine annealing, as often as it takes (three times at most)."""
    images, labels = mnist("train")
    model = build(chosen.model)
    for _ in range(3):
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=chosen.learning_rate,
            momentum=0.9,
            weight_decay=chosen.weight_decay,
        )
        num_steps = chosen.epochs * (len(images) // chosen.batch)
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        model.train()
        for _ in range(chosen.epochs):
            for taken in torch.randperm(len(images)).split(chosen.batch):
                if len(taken) < chosen.batch:
                    continue
                optimizer.zero_grad()
                F.cross_entropy(model(images[taken].float() / 255), labels[taken]).backward()
                optimizer.step()
                annealing.step()
        accuracy = test(model.eval())
        if accuracy >= chosen.accuracy:
            break
    return {"accuracy": accuracy}


def test(model: torch.nn.Module) -> float:
    """The percentage of test images that the model knows."""
    images, labels = mnist("test")
    with torch.no_grad():
        found = [model(part.float() / 255).argmax(1) for part in images.split(250)]
    return 100 * float((torch.cat(found) == labels).float().mean())


def mnist(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The same files that sigdca reads."""
    from sigdca.data import load

    found = load("mnist", split)
    return torch.from_numpy(found.images), torch.from_numpy(found.labels.astype(np.int64))


if __name__ == "__main__":
    main()
