"""What sigdca is measured against: a plain torch loop, under torchrun with torch's DDP.

Prints the seconds of each step as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from sigdca.models import build


def main() -> None:
    """Trains on random images."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--shape", type=int, nargs=3, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
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
    if rank == 0:
        json.dump({"step_s": np.diff(times).tolist()}, sys.stdout)
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
