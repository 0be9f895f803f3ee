"""What strategies have in common whose processes hold parts of the weights (DTensors)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from sigdca.distributed.strategies.ddp import mean_over_processes
from sigdca.training import MakeOptimizer, Parallel, Place


class Sharded(Parallel):
    """Trains a copy whose parameters are spread over the processes.

    The single-device model is filled from the parts when it is asked for. Unless a hook asks in
    every step, it takes no memory in between.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: MakeOptimizer,
        place: Place,
        sample: Tensor,
        *,
        hooked: bool,
    ) -> None:
        """See `Parallel`; a default process group must be there."""
        super().__init__(model, make_optimizer, place, sample, hooked=hooked)
        if not hooked:
            model.to("meta")

    def _wrap(self, model: nn.Module, sample: Tensor) -> nn.Module:
        device = torch.device(self.place.device).type
        self.mesh = init_device_mesh(device, (self.place.world_size,))
        return self.shard(copy.deepcopy(model), sample)

    def shard(self, model: nn.Module, sample: Tensor) -> nn.Module:
        """Spreads the model's parameters over `mesh`, in place; gives what computes the logits."""
        raise NotImplementedError

    @property
    def parts(self) -> nn.Module:
        """The module with the model's own names of parameters."""
        return self.module

    @contextlib.contextmanager
    def gradients(self) -> Iterator[nn.Module]:
        """Gathers every gradient; afterwards each process keeps its part."""
        pairs = list(zip(self.parts.parameters(), self.model.parameters(), strict=True))
        for part, whole in pairs:
            whole.grad = None if part.grad is None else gathered(part.grad)
        yield self.model
        for part, whole in pairs:
            if part.grad is not None and whole.grad is not None:
                keep_part_(part.grad, whole.grad)
            whole.grad = None

    @contextlib.contextmanager
    def weights(self) -> Iterator[nn.Module]:
        """Gathers every weight; afterwards each process keeps its part."""
        self._gather()
        yield self.model
        with torch.no_grad():
            for part, whole in self._tensors():
                keep_part_(part.detach(), whole.detach())

    def mean(self, value: Tensor) -> float:
        """By an all-reduce."""
        return mean_over_processes(value)

    def sparsity(self) -> float:
        """Counts the parts."""
        counts = torch.zeros(2, dtype=torch.float64)
        for parameter in self.parts.parameters():
            if parameter.dim() < 2:
                continue
            part, share = parameter.detach(), 1.0
            if isinstance(part, DTensor):
                split = any(isinstance(placement, Shard) for placement in part.placements)
                part, share = part.to_local(), 1.0 if split else 1 / self.place.world_size
            else:
                share = 1 / self.place.world_size
            counts += torch.tensor([int((part == 0).sum()), part.numel()]) * share
        num_zero, num_weights = (mean_over_processes(count) for count in counts)
        return num_zero / max(num_weights, 1e-9)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """One tensor after another, so that no other process ever holds all of them."""
        self._share_buffers()
        keep = self.place.rank == 0
        model = _mapped(self.parts.state_dict(), lambda part: _collected(part, keep))
        optimizer = _mapped(self.optimizer.state_dict(), lambda part: _collected(part, keep))
        return model, optimizer

    def load(self, model: dict[str, Any], optimizer: dict[str, Any]) -> None:
        """Each process keeps its parts."""
        with torch.no_grad():
            for name, part in self.parts.state_dict().items():
                keep_part_(part, model[name])
        self.optimizer.load_state_dict(self._optimizer_parts(optimizer))

    def finish(self) -> None:
        """Gathers the weights into the single-device model."""
        self._share_buffers()
        if not self.hooked:
            self.model.to_empty(device="cpu")
        self._gather()
        self.model.to("cpu")

    def _optimizer_parts(self, state: dict[str, Any]) -> dict[str, Any]:
        """An optimizer's whole state, cut to the parts of its parameters."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        found = {
            number: {
                name: _like_part(value, parameters[int(number)]) for name, value in values.items()
            }
            for number, values in state["state"].items()
        }
        return {**state, "state": found}

    def _tensors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each part with its whole, buffers as well."""
        whole = self.model.state_dict(keep_vars=True)
        for name, part in self.parts.state_dict(keep_vars=True).items():
            yield part, whole[name]

    def _gather(self) -> None:
        self._share_buffers()
        with torch.no_grad():
            for part, whole in self._tensors():
                whole.copy_(gathered(part.detach()))

    def _share_buffers(self) -> None:
        """Every process has the running statistics of rank 0, as under `ddp`."""
        for buffer in self.parts.buffers():
            dist.broadcast(buffer, 0)


def gathered(part: Tensor) -> Tensor:
    """The whole tensor of which this process has a part."""
    return part.full_tensor() if isinstance(part, DTensor) else part


def keep_part_(part: Tensor, whole: Tensor) -> None:
    """Writes this process's part of a whole tensor, in place."""
    if isinstance(part, DTensor):
        part.to_local().copy_(_cut(whole, part))
    else:
        part.copy_(whole)


def _cut(whole: Tensor, like: DTensor) -> Tensor:
    """The part of `whole` that lies here, spread as `like` is: torch.chunk's for each axis."""
    mesh: DeviceMesh = like.device_mesh
    for axis, placement in enumerate(like.placements):
        if isinstance(placement, Shard):
            parts = torch.chunk(whole, mesh.size(axis), placement.dim)
            place = mesh.get_local_rank(axis)
            whole = parts[place] if place < len(parts) else whole.narrow(placement.dim, 0, 0)
    return whole


def _like_part(value: Any, parameter: Tensor) -> Any:
    """A tensor of an optimizer's state, spread as its parameter is; other values as they are."""
    if not isinstance(value, Tensor) or not isinstance(parameter, DTensor):
        return value
    if value.shape != parameter.shape:
        return value  # a step counter
    return DTensor.from_local(
        _cut(value, parameter).contiguous().to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def _collected(part: Tensor, keep: bool) -> Tensor | None:
    whole = gathered(part)
    return whole.detach().cpu().clone() if keep else None


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested dicts and lists with every tensor changed, in an order that all processes share."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return value
