"""`ddp`: every process has the whole model; gradients are averaged while they are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sigdca.training import MakeOptimizer, Parallel


class DataParallel(Parallel):
    """torch's DistributedDataParallel (Li et al., VLDB 2020)."""

    def _set_up(
        self, model: nn.Module, make_optimizer: MakeOptimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        if self.place.world_size == 1:
            return model, make_optimizer(model.parameters())
        module = DistributedDataParallel(
            model,
            # Gradients lie in the buffers that are sent, which saves a copy of all weights.
            gradient_as_bucket_view=True,
            find_unused_parameters=not reads_all(model, self.setting.sample),
        )
        return module, make_optimizer(module.parameters())

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Gradients are averaged in the last alone."""
        with unaveraged(self.module, not last):
            yield

    def total(self, value: Tensor) -> float:
        """By an all-reduce."""
        return total_over_processes(value)


def reads_all(model: nn.Module, sample: Tensor) -> bool:
    """Whether the logits depend on each parameter that is trained.

    DDP waits for the gradients of all of them; to look in each step for which there are none takes
    time, and is for networks that have such.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = model.training
    logits = model.eval()(sample)
    model.train(training)
    found = torch.autograd.grad(logits.sum(), trained, allow_unused=True)
    return all(gradient is not None for gradient in found)


def unaveraged(module: nn.Module, wanted: bool) -> contextlib.AbstractContextManager[None]:
    """DDP keeps each process's own gradients, if wanted; other modules do so anyway."""
    if wanted and isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return contextlib.nullcontext()


def total_over_processes(value: Tensor) -> float:
    """The sum of a scalar over all processes of the default group."""
    if not dist.is_initialized():
        return float(value)
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    total = value.detach().double().to(device)
    dist.all_reduce(total)
    return float(total)
