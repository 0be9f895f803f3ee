"""What strategies have in common whose processes hold parts of the weights."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from sigdca.distributed.strategies.ddp import total_over_processes
from sigdca.errors import JobError
from sigdca.training import MakeOptimizer, Parallel, Rows, Whole, num_zeros
from sigdca.training.parallel import State
from sigdca.training.tensors import PIECE_BYTES, fill_, spans


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

    def state(self) -> State[Whole]:
        """With the running statistics of rank 0, as under `ddp`."""
        self._share_buffers()
        return super().state()

    def _parts(self) -> dict[str, Tensor]:
        parts = dict(self.parts.named_parameters()) | dict(self.parts.named_buffers())
        return {name: parts[name] for name in self.model.state_dict()}

    def _tensors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each part with its whole, buffers as well."""
        return zip(self._parts().values(), self.model.state_dict().values(), strict=True)

    def _gather(self) -> None:
        self._share_buffers()
        with torch.no_grad():
            for part, whole in self._tensors():
                self.gather_(part, whole)

    def _share_buffers(self) -> None:
        """Every process has the running statistics of rank 0, as under `ddp`."""
        for buffer in self.parts.buffers():
            dist.broadcast(buffer, 0)

    def runs(self, own: Tensor, share: int, length: int) -> Iterator[Tensor]:
        """A flat tensor whose values the processes have in turn; see `pieces`.

        Args:
            own: this process's, and perhaps some that fill up its share.
            share: how many each has; the last ones may have fewer.
            length: of all of it.
        """
        size = PIECE_BYTES // own.itemsize
        room = own.new_empty(min(size, share))
        for first in range(0, length, max(1, share)):
            rank, last = first // share, min(first + share, length)
            for start in range(first, last, size):
                count = min(size, last - start)
                here = rank == self.place.rank
                piece = own[start - first :][:count] if here else room[:count]
                dist.broadcast(piece, rank)
                if self.place.rank == 0:
                    yield piece.cpu()


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

    def pieces(self, part: Tensor) -> Iterator[Tensor]:
        """Each process tells its rows in turn; of other parts, all tell some rows at a time."""
        part = part.detach()
        if isinstance(part, DTensor) and part.placements == (Shard(0),):
            width = part.numel() // max(1, len(part))
            share = -(-len(part) // self.place.world_size) * width
            yield from self.runs(part.to_local().reshape(-1), share, part.numel())
        else:
            for index in spans(part):
                rows = _whole(part[index])
                if self.place.rank == 0:
                    yield rows.cpu()

    def keep_(self, part: Tensor, whole: Rows) -> None:
        """Without communication."""
        _keep_(part.detach(), whole)

    def gathered_gradient(self, part: nn.Parameter) -> Tensor | None:
        """By an all-gather."""
        return None if part.grad is None else _whole(part.grad)

    def keep_gradient_(self, part: nn.Parameter, whole: Tensor) -> None:
        """Without communication."""
        if part.grad is not None:
            _keep_(part.grad, whole)


def _whole(part: Tensor) -> Tensor:
    return part.full_tensor() if isinstance(part, DTensor) else part


def _keep_(part: Tensor, whole: Rows) -> None:
    if not isinstance(part, DTensor):
        fill_(part, whole)
        return
    own = part.to_local()
    first = 0
    if part.placements == (Shard(0),):
        first = part.device_mesh.get_local_rank() * -(-len(part) // part.device_mesh.size())
    for index in spans(own):
        assert isinstance(index, slice)
        rows = whole[first + index.start : first + index.stop]
        own[index].copy_(_cut(rows, part))


def _cut(rows: Tensor, like: DTensor) -> Tensor:
    """What lies here of some rows, spread as `like` is: torch.chunk's for each other axis."""
    mesh: DeviceMesh = like.device_mesh
    for axis, placement in enumerate(like.placements):
        if isinstance(placement, Shard) and placement.dim:
            parts = torch.chunk(rows, mesh.size(axis), placement.dim)
            place = mesh.get_local_rank(axis)
            rows = parts[place] if place < len(parts) else rows.narrow(placement.dim, 0, 0)
    return rows
