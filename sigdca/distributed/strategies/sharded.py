"""What strategies have in common whose processes hold parts of the weights."""

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

from sigdca.distributed.strategies.ddp import total_over_processes
from sigdca.errors import JobError
from sigdca.training import MakeOptimizer, Parallel, num_zeros


class Spread(Parallel):
    """Trains a copy of the model whose parameters are spread over the processes.

    The single-device model is filled from the parts when it is asked for. Unless a hook asks in
    every step, it takes no memory in between.
    """

    holds_whole = False

    @classmethod
    def check(cls, model: nn.Module, sample: Tensor) -> None:
        """Whether each weight belongs to one layer, with which it is spread."""
        names: dict[nn.Parameter, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            first = names.setdefault(parameter, name)
            if first != name:
                raise JobError(
                    f"train.strategy: '{first}' and '{name}' are one weight, and fsdp, deepspeed "
                    "and hybrid spread weights layer by layer: use ddp or horovod"
                )

    def copied(self, model: nn.Module) -> nn.Module:
        """A copy to spread. Unless a hook needs the model too, it gives its tensors away."""
        if self.setting.hooked:
            return copy.deepcopy(model)
        tensors = [*model.parameters(), *model.buffers()]
        spread = copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})
        model.to("meta")
        return spread

    @property
    def parts(self) -> nn.Module:
        """The module with the model's own names of parameters."""
        return self.module

    def gathered(self, part: Tensor) -> Tensor:
        """The whole tensor of which this process has a part."""
        raise NotImplementedError

    def gather_(self, part: Tensor, whole: Tensor) -> None:
        """Fills the whole tensor of which this process has a part."""
        whole.copy_(self.gathered(part))

    def keep_(self, part: Tensor, whole: Tensor) -> None:
        """Writes this process's part of a whole parameter or buffer, in place."""
        raise NotImplementedError

    def gathered_gradient(self, part: nn.Parameter) -> Tensor | None:
        """The whole gradient of a parameter of which this process has a part."""
        raise NotImplementedError

    def keep_gradient_(self, part: nn.Parameter, whole: Tensor) -> None:
        """Writes this process's part of a whole gradient, in place."""
        raise NotImplementedError

    @contextlib.contextmanager
    def gradients(self) -> Iterator[nn.Module]:
        """Gathers every gradient; afterwards each process keeps its part."""
        self.scaler.unscale_(self.optimizer)
        pairs = list(zip(self.parts.parameters(), self.model.parameters(), strict=True))
        for part, whole in pairs:
            whole.grad = self.gathered_gradient(part)
        yield self.model
        for part, whole in pairs:
            if whole.grad is not None:
                self.keep_gradient_(part, whole.grad)
            whole.grad = None

    @contextlib.contextmanager
    def weights(self) -> Iterator[nn.Module]:
        """Gathers every weight; afterwards each process keeps its part."""
        self._gather()
        yield self.model
        with torch.no_grad():
            for part, whole in self._tensors():
                self.keep_(part, whole)

    def total(self, value: Tensor) -> float:
        """By an all-reduce."""
        return total_over_processes(value)

    def sparsity(self) -> float:
        """One layer after another."""
        num_zero = num_weights = 0
        for parameter in self.parts.parameters():
            whole = self.gathered(parameter)
            if whole.dim() > 1:
                num_zero += num_zeros(whole)
                num_weights += whole.numel()
        return num_zero / max(1, num_weights)

    def finish(self) -> None:
        """Gathers the weights into the single-device model; gradients and moments make room."""
        self.zero_grad()
        self.optimizer.state.clear()
        if not self.setting.hooked:
            self.model.to_empty(device="cpu")
        self._gather()
        self.model.to("cpu")

    def _tensors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each part with its whole, buffers as well."""
        parts = dict(self.parts.named_parameters()) | dict(self.parts.named_buffers())
        for name, whole in self.model.state_dict().items():
            yield parts[name], whole

    def _gather(self) -> None:
        self._share_buffers()
        with torch.no_grad():
            for part, whole in self._tensors():
                self.gather_(part, whole)

    def _share_buffers(self) -> None:
        """Every process has the running statistics of rank 0, as under `ddp`."""
        for buffer in self.parts.buffers():
            dist.broadcast(buffer, 0)

    def _collected(self) -> dict[str, Tensor]:
        """The whole state_dict in rank 0; one after another, so that no other holds all of it."""
        self._share_buffers()
        parts = dict(self.parts.named_parameters()) | dict(self.parts.named_buffers())
        found = {}
        for name in self.model.state_dict():
            whole = self.gathered(parts[name])
            if self.place.rank == 0:
                found[name] = whole.detach().cpu().clone()
        return found


class Sharded(Spread):
    """Parts that are DTensors."""

    def _set_up(
        self, model: nn.Module, make_optimizer: MakeOptimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        device = torch.device(self.place.device).type
        self.mesh = init_device_mesh(device, (self.place.world_size,))
        module = self.shard(self.copied(model))
        return module, make_optimizer(module.parameters())

    def shard(self, model: nn.Module) -> nn.Module:
        """Spreads the model's parameters over `mesh`, in place; gives what computes the logits."""
        raise NotImplementedError

    def sparsity(self) -> float:
        """Each process counts its parts."""
        counts = torch.zeros(2, dtype=torch.float64)
        for part in self.module.parameters():
            is_cut = isinstance(part, DTensor)
            if part.dim() > 1 and (is_cut or self.place.rank == 0):
                here = part.to_local() if isinstance(part, DTensor) else part
                counts += torch.tensor([num_zeros(here.detach()), here.numel()])
        zeros, weights = (self.total(count) for count in counts)
        return zeros / weights if weights else 0.0

    def gathered(self, part: Tensor) -> Tensor:
        """By an all-gather."""
        return _whole(part.detach())

    def gather_(self, part: Tensor, whole: Tensor) -> None:
        """Part by part into its place, where the parts lie there one after the other."""
        by_rows = isinstance(part, DTensor) and part.placements == (Shard(0),)
        if not (by_rows and whole.is_contiguous()):
            super().gather_(part, whole)
            return
        own = part.detach().to_local()  # type: ignore[attr-defined]
        for rank, rows in enumerate(torch.chunk(whole, self.place.world_size)):
            # Processes speak where their parts lie: nccl sends nothing that lies on the CPU.
            sent = rows if rows.device == own.device else torch.empty_like(rows, device=own.device)
            if rank == self.place.rank:
                sent.copy_(own)
            dist.broadcast(sent, rank)
            rows.copy_(sent)

    def keep_(self, part: Tensor, whole: Tensor) -> None:
        """Without communication."""
        _keep_(part.detach(), whole)

    def gathered_gradient(self, part: nn.Parameter) -> Tensor | None:
        """By an all-gather."""
        return None if part.grad is None else _whole(part.grad)

    def keep_gradient_(self, part: nn.Parameter, whole: Tensor) -> None:
        """Without communication."""
        if part.grad is not None:
            _keep_(part.grad, whole)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """One tensor after another."""
        keep = self.place.rank == 0

        def collected(part: Tensor) -> Tensor | None:
            whole = _whole(part)
            return whole.detach().cpu().clone() if keep else None

        return self._collected(), _mapped(self.optimizer.state_dict(), collected)

    def load(self, model: dict[str, Any], optimizer: dict[str, Any]) -> None:
        """Each process keeps its parts."""
        parts = dict(self.parts.named_parameters()) | dict(self.parts.named_buffers())
        with torch.no_grad():
            for name, whole in model.items():
                self.keep_(parts[name], whole)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = {
            number: {
                name: _like_part(value, parameters[int(number)]) for name, value in values.items()
            }
            for number, values in optimizer["state"].items()
        }
        self.optimizer.load_state_dict({**optimizer, "state": state})


def _whole(part: Tensor) -> Tensor:
    return part.full_tensor() if isinstance(part, DTensor) else part


def _keep_(part: Tensor, whole: Tensor) -> None:
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


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested dicts and lists with every tensor changed, in an order that all processes share."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return value
