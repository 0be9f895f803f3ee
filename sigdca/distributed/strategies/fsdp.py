"""`fsdp`: weights, gradients and optimizer state are spread over the processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from sigdca.distributed.strategies import streamed
from sigdca.distributed.strategies.sharded import Sharded


class FullyShardedDataParallel(Sharded):
    """torch's FSDP2 (Zhao et al., VLDB 2023): a layer's weights are gathered while it computes."""

    def shard(self, model: nn.Module) -> nn.Module:
        """Layer by layer, so that no more than two layers are whole at a time; see `streamed`."""
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for name, module in list(model.named_modules()):
            if type(module) is nn.Linear and module.weight.numel() >= streamed.STREAMED_FROM:
                model.set_submodule(name, streamed.StreamedLinear(module, self.mesh))
        layers = [
            module
            for module in model.modules()
            if module is not model and any(True for _ in module.parameters(recurse=False))
        ]
        spread: set[nn.Parameter] = {p for p in model.parameters() if isinstance(p, DTensor)}
        for layer in layers:
            fully_shard(layer, mesh=self.mesh, ignored_params=spread)
        fully_shard(model, mesh=self.mesh, ignored_params=spread)
        return model

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Gradients are averaged and spread in the last alone."""
        assert isinstance(self.module, FSDPModule)
        self.module.set_requires_gradient_sync(last)
        yield
