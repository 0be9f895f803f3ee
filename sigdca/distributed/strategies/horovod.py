"""`horovod`: every process has the whole model; Horovod averages the gradients."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from sigdca.distributed.rendezvous import MISSING
from sigdca.errors import JobError, SigdcaError
from sigdca.training import MakeOptimizer, Parallel, Rows

# In a profile, as torch names its own waiting for others; see `sigdca.training.meter`.
WAITING = "gloo:horovod"


class HorovodParallel(Parallel):
    """Horovod's optimizer (Sergeev and Del Balso, arXiv 1802.05799).

    Whoever starts the processes sets Horovod's environment; see `sigdca.distributed.rendezvous`.
    """

    @classmethod
    def check(cls, model: nn.Module, sample: Tensor) -> None:
        """Whether Horovod is installed here, as it must be on the workers."""
        if importlib.util.find_spec("horovod") is None:
            raise JobError(MISSING)

    def _set_up(
        self, model: nn.Module, make_optimizer: MakeOptimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        self._library = self._started()
        # It takes contiguous gradients alone, and a gradient lies as its weight does.
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._share(model.state_dict())
        optimizer: torch.optim.Optimizer = self._library.DistributedOptimizer(
            make_optimizer(model.parameters()),
            named_parameters=model.named_parameters(),
            backward_passes_per_step=self.setting.accumulation_steps,
        )
        return model, optimizer

    def _started(self) -> Any:
        """The library, connected to the other processes.

        Raises:
            JobError: it is not installed, or not for this torch.
            SigdcaError: its environment is not that of this process's place.
        """
        try:
            import horovod.torch as library

            running = library.is_initialized()
        except (AttributeError, ImportError, OSError) as error:  # its parts for torch may lack
            raise JobError(MISSING) from error
        place = self.place
        if place.device.startswith("cuda"):
            torch.cuda.set_device(place.device)
        if not running:
            library.init()
        found = (library.rank(), library.size())
        if found != (place.rank, place.world_size):
            raise SigdcaError(
                f"horovod: its environment says rank {found[0]} of {found[1]}; "
                f"this is rank {place.rank} of {place.world_size}"
            )
        return library

    def _share(self, tensors: Mapping[str, Tensor]) -> None:
        """Every process gets rank 0's values, in place."""
        with record_function(WAITING):
            self._library.broadcast_parameters(dict(tensors), root_rank=0)

    def zero_grad(self) -> None:
        """Horovod's takes no arguments."""
        self.optimizer.zero_grad()

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Horovod counts the parts, and averages while the last one's gradients are computed."""
        yield
        if last:
            with record_function(WAITING):
                self.optimizer.synchronize()  # type: ignore[attr-defined]  # Horovod's own

    def step(self) -> None:
        """The gradients are averaged already, and a hook may have changed them."""
        with self.optimizer.skip_synchronize():  # type: ignore[attr-defined]
            super().step()

    @contextlib.contextmanager
    def weights(self) -> Iterator[nn.Module]:
        """With the running statistics of rank 0, as under `ddp`."""
        self._share(dict(self.model.named_buffers()))
        yield self.model

    def total(self, value: Tensor) -> float:
        """By an all-reduce."""
        scalar, add = value.detach().double(), self._library.Sum
        return float(self._library.allreduce(scalar, name="total", op=add))

    def load(self, model: Mapping[str, Rows], optimizer: Mapping[int, Mapping[str, Rows]]) -> None:
        """Every process goes on from what rank 0 was given."""
        super().load(model, optimizer)
        self._share(self.model.state_dict())
        self._share(
            {
                f"{number}.{name}": value
                for number, values in self.optimizer.state_dict()["state"].items()
                for name, value in values.items()
                if isinstance(value, Tensor)
            }
        )
