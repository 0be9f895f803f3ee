"""How a process takes its part in training a model: here, the only process there is.

A strategy is a class that derives from `Parallel`; `sigdca.distributed.strategies` has those for
several processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sigdca.training.checkpoint import Kind
from sigdca.training.tensors import Rows, Whole, fill_, spans

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

State = tuple[Mapping[str, Kind], Mapping[int, Mapping[str, Kind]]]
"""Of the model, and of each of its parameters in the optimizer; see `Checkpoint`."""

AUTOCAST = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Place:
    """Which share of the work this process has."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Setting:
    """What a strategy knows of the training besides the model.

    Attributes:
        place: this process's share.
        sample: float32 [1, C, H, W] that the model can take, on the place's device.
        batch_size: images per step over all processes.
        hooked: whether `gradients` and `weights` will be asked for in each step.
        precision: `float32`, or what the model computes in under autocast: `bf16` or `fp16`.
        accumulation_steps: parts in which each process computes its images of a step.
        options: a library's own settings, where the strategy has one that takes such.
    """

    place: Place
    sample: Tensor
    batch_size: int
    hooked: bool = False
    precision: str = "float32"
    accumulation_steps: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def autocast(self) -> torch.dtype | None:
        """What convolutions and FC layers compute in, where that is not float32."""
        return AUTOCAST[self.precision]


def num_zeros(values: Tensor) -> int:
    """How many are 0; a sum of comparisons would take eight bytes for each."""
    return values.numel() - int(torch.count_nonzero(values))


class Parallel:
    """Trains `model` in this process alone.

    Whole weights and gradients are those of the single-device model: compression's hooks see
    nothing else, whatever lies where. All processes must call each method, in the same order.

    Attributes:
        model: the single-device model.
        module: what computes the logits.
        optimizer: of the module's parameters.
        place: this process's share.
        holds_whole: whether `model` and its gradients fit into a process as a whole.
        scaler: what keeps small gradients from vanishing in fp16 (Micikevicius et al., ICLR
            2018, section 3.2); otherwise it changes nothing.
    """

    holds_whole = True

    def __init__(self, model: nn.Module, make_optimizer: MakeOptimizer, setting: Setting) -> None:
        """Takes a model on the place's device.

        Args:
            model: the single-device model, the same in every process.
            make_optimizer: makes the optimizer for some parameters.
            setting: see there.

        Raises:
            JobError: a library that the strategy needs is not there.
        """
        self.model, self.setting, self.place = model, setting, setting.place
        device = torch.device(setting.place.device).type
        self.scaler = torch.amp.GradScaler(device, enabled=self._scales())
        self.module, self.optimizer = self._set_up(model, make_optimizer)

    def _scales(self) -> bool:
        """Whether the loss is scaled here."""
        return self.setting.precision == "fp16"

    @classmethod
    def check(cls, model: nn.Module, sample: Tensor) -> None:
        """Says before anything starts whether such a model can be trained so.

        Args:
            model: the single-device model, on any device, meta as well.
            sample: float32 [1, C, H, W] that the model can take, on the same one.

        Raises:
            JobError: it cannot; one line that says what to do instead.
        """

    def _set_up(
        self, model: nn.Module, make_optimizer: MakeOptimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The module that computes the logits, and its optimizer."""
        return model, make_optimizer(model.parameters())

    def seed_epoch(self, seed: int) -> None:
        """Seeds what the model itself draws in an epoch (dropout), from a seed that all share."""
        torch.manual_seed(seed + self.place.rank)

    def labels(self, classes: Tensor) -> Tensor:
        """The labels of the images whose logits this process gets, given those it has read."""
        return classes

    def zero_grad(self) -> None:
        """Forgets the gradients of the step before."""
        self.optimizer.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Forward and backward of a part of the step's images.

        Args:
            last: the step's last part, after which the gradients must be those of all parts in
                all processes; until then, each may keep its own.
        """
        yield

    def backward(self, loss: Tensor) -> None:
        """Adds to the parameters' gradients that of the mean of `loss` over all processes."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Moves the weights."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    @contextlib.contextmanager
    def gradients(self) -> Iterator[nn.Module]:
        """The model with its whole gradients, which may be changed, for the next `step`."""
        self.scaler.unscale_(self.optimizer)
        yield self.model

    @contextlib.contextmanager
    def weights(self) -> Iterator[nn.Module]:
        """The model with its whole weights, which may be changed."""
        yield self.model

    def total(self, value: Tensor) -> float:
        """The sum of a scalar over all processes."""
        return float(value)

    def mean(self, value: Tensor) -> float:
        """The mean of a scalar over all processes."""
        return self.total(value) / self.place.world_size

    def sparsity(self) -> float:
        """The share of zeros among all weights of two or more axes."""
        weights = [parameter for parameter in self.model.parameters() if parameter.dim() > 1]
        num_zero = sum(num_zeros(weight) for weight in weights)
        return num_zero / max(1, sum(weight.numel() for weight in weights))

    def pieces(self, part: Tensor) -> Iterator[Tensor]:
        """The whole tensor of which `part` lies here, for the process of rank 0; see `Whole`."""
        if self.place.rank == 0:
            for index in spans(part):
                yield part.detach()[index].cpu()

    def keep_(self, part: Tensor, whole: Rows) -> None:
        """Writes what this process has of a whole parameter or buffer, in place."""
        fill_(part, whole)

    def state(self) -> State[Whole]:
        """What the model's and the optimizer's state_dict have, whatever the strategy.

        All processes must take all pieces, the model's first, in order.
        """
        model = {name: self._whole(part) for name, part in self._parts().items()}
        return model, {
            number: {key: self._whole(value) for key, value in values.items()}
            for number, values in self.optimizer.state_dict()["state"].items()
        }

    def load(self, model: Mapping[str, Rows], optimizer: Mapping[int, Mapping[str, Rows]]) -> None:
        """Goes on from what `state` gave, here or under another strategy.

        The optimizer's learning rate and the like are not in it: they are the job's.
        """
        with torch.no_grad():
            for name, part in self._parts().items():
                self.keep_(part, model[name])
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            state = {
                number: {
                    key: self._like(value, parameters[number]) for key, value in values.items()
                }
                for number, values in optimizer.items()
            }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})

    def _parts(self) -> dict[str, Tensor]:
        """What lies here of the tensors of the model's state_dict, by their names there."""
        return self.model.state_dict()

    def _whole(self, part: Tensor) -> Whole:
        return Whole(tuple(part.shape), part.dtype, self.pieces(part))

    def _like(self, value: Rows, parameter: Tensor) -> Tensor:
        """What an optimizer keeps of a parameter, where and in the order in which that lies."""
        if not value.shape:  # a counter of steps
            return value[...].clone()
        kept = torch.empty_like(parameter)
        self.keep_(kept, value)
        return kept

    def finish(self) -> None:
        """Leaves the trained weights in `model`, on the CPU."""
        self.model.to("cpu")
