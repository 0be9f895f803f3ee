"""`hybrid`: convolutions are data-parallel, fully connected layers model-parallel.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (arXiv 1404.5997):
convolutions have few weights and many activations, fully connected layers the other way round. So
the former's gradients are averaged, and for the latter the batch is gathered and each process
computes its part of the outputs, by torch's tensor parallelism.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from sigdca.distributed.strategies.ddp import reads_all, unaveraged
from sigdca.distributed.strategies.sharded import Sharded
from sigdca.errors import JobError
from sigdca.models import trace

# One value in, one value out: whatever part of a row a process has, it can compute.
_ELEMENTWISE = frozenset({"relu", "relu6"})


class HybridParallel(Sharded):
    """Every process gets the logits of the whole batch, and so the same loss."""

    @classmethod
    def check(cls, model: nn.Module, sample: Tensor) -> None:
        """See `Spread`, `fc_layers` and `_check_draws`."""
        super().check(model, sample)
        fc_layers(model, sample)
        _check_draws(model, sample)

    def shard(self, model: nn.Module) -> nn.Module:
        """Cuts the fully connected layers; the others are wrapped by DDP."""
        sample = self.setting.sample
        layers, all_read = fc_layers(model, sample), reads_all(model, sample)
        pairs = _pairs(model, layers, self.place.world_size)
        for dropout in _dropouts_on_whole_rows(model, sample, pairs):
            _SharedDraws(self, dropout)
        parallelize_module(model, self.mesh, _plan(pairs))
        cut = [f"{layer}.{name}" for layer in layers for name in ("weight", "bias")]
        names = dict(model.named_parameters())
        self._averaged = [names[name] for name in names if name not in cut]
        if not self._averaged:
            return model
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            model, cut
        )
        return DistributedDataParallel(model, find_unused_parameters=not all_read)

    @property
    def parts(self) -> nn.Module:
        """Without DDP's own level of names."""
        inner = self.module
        return inner.module if isinstance(inner, DistributedDataParallel) else inner

    def labels(self, classes: Tensor) -> Tensor:
        """Those of all processes, in the order of their ranks."""
        found = [torch.empty_like(classes) for _ in range(self.place.world_size)]
        dist.all_gather(found, classes)
        return torch.cat(found)

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """The loss is the mean over all processes' images, so convolutions need sums."""
        with unaveraged(self.module, not last):
            yield
        for parameter in self._averaged if last else []:
            if parameter.grad is not None:
                parameter.grad.mul_(self.place.world_size)

    def mean(self, value: Tensor) -> float:
        """Of the loss, which is the same everywhere already."""
        return float(value)

    def seed_epoch(self, seed: int) -> None:
        """Dropout on whole rows draws alike in all processes."""
        super().seed_epoch(seed)
        self.shared_seed, self.num_draws = seed, 0


def fc_layers(model: nn.Module, sample: Tensor) -> list[str]:
    """The names of the fully connected layers, in the order in which they run.

    Raises:
        JobError: there are none, or something else than an activation stands between or after
            them.
    """
    graph = trace(model, tuple(sample.shape[1:]), 1.0)
    kinds = [op.kind for op in graph.ops]
    if "fc" not in kinds:
        raise JobError(
            "train.strategy: hybrid is for networks with fully connected layers; this one has "
            "none: use ddp"
        )
    first = kinds.index("fc")
    for index, op in enumerate(graph.ops[first:], first):
        follows = op.inputs == (index,) or index == first
        if not follows or op.kind not in _ELEMENTWISE | {"fc"}:
            raise JobError(
                f"train.strategy: hybrid needs fully connected layers that follow each other at "
                f"the network's end; '{op.name or op.kind}' stands among them: use ddp"
            )
    return [op.name for op in graph.ops if op.kind == "fc"]


def _pairs(model: nn.Module, layers: list[str], num_processes: int) -> list[tuple[str, ...]]:
    """Layers two by two where the outputs of the first can be dealt out evenly, else alone."""
    pairs, rest = [], list(layers)
    while rest:
        width = model.get_submodule(rest[0]).out_features
        size = 2 if len(rest) > 1 and int(width) % num_processes == 0 else 1  # type: ignore[arg-type]
        pairs.append(tuple(rest[:size]))
        del rest[:size]
    return pairs


def _plan(pairs: list[tuple[str, ...]]) -> dict[str, ParallelStyle]:
    """Of a pair, the first is cut by outputs and the second by inputs (Megatron-LM, section 3).

    The first layer of all gathers the batch, of which each process has computed its share.
    """
    plan: dict[str, ParallelStyle] = {}
    for number, (first, *second) in enumerate(pairs):
        start = Replicate() if number else Shard(0)
        if second:
            plan[first] = ColwiseParallel(input_layouts=start)
            plan[second[0]] = RowwiseParallel(output_layouts=Replicate())
        else:
            plan[first] = ColwiseParallel(input_layouts=start, output_layouts=Replicate())
    return plan


def _dropouts_on_whole_rows(
    model: nn.Module, sample: Tensor, pairs: list[tuple[str, ...]]
) -> list[nn.Module]:
    """The dropout modules whose input every process has as a whole."""
    modules = dict(model.named_modules())
    gathered_after = {modules[layer]: layer == pair[-1] for pair in pairs for layer in pair}
    seen: list[nn.Module] = []
    watched = [m for m in modules.values() if m in gathered_after or isinstance(m, nn.Dropout)]
    handles = [m.register_forward_pre_hook(lambda m, _: seen.append(m)) for m in watched]
    training = model.training
    with torch.no_grad():
        model.eval()(sample)
    model.train(training)
    for handle in handles:
        handle.remove()
    found, whole = [], False
    for module in seen:
        whole = gathered_after.get(module, whole)
        if whole and module not in gathered_after:
            found.append(module)
    return found


def _check_draws(model: nn.Module, sample: Tensor) -> None:
    """Random numbers after the first fully connected layer must be drawn by dropout modules.

    Raises:
        JobError: a function draws some, which no hook can make alike in all processes.
    """
    apart = copy.deepcopy(model).to("meta").train()
    draws = _Draws()  # type: ignore[no-untyped-call]
    for name, module in apart.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda *_, name=name: setattr(draws, "after", name))
        elif isinstance(module, nn.Dropout):
            module.register_forward_pre_hook(lambda *_: setattr(draws, "handled", True))
            module.register_forward_hook(lambda *_: setattr(draws, "handled", False))
    # Two images, for a batch norm; what needs their values to run cannot be looked at.
    with contextlib.suppress(NotImplementedError, RuntimeError), draws:
        apart(torch.empty(2, *sample.shape[1:], device="meta"))
    if draws.found is not None:
        raise JobError(
            f"train.strategy: hybrid needs nn.Dropout as a module; after '{draws.found}' the "
            "network draws random numbers by a function such as F.dropout: write self.drop = "
            "nn.Dropout(p) in its __init__ and call it there, or use ddp"
        )


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes after which layer random numbers are drawn that nobody handles."""

    after: str | None = None
    handled = False
    found: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not self.handled:
            self.found = self.found or self.after
        return func(*args, **(kwargs or {}))


class _SharedDraws:
    """Gives one dropout module the same random numbers in every process."""

    def __init__(self, owner: HybridParallel, dropout: nn.Module) -> None:
        self._owner, self._stack = owner, contextlib.ExitStack()
        dropout.register_forward_pre_hook(self._before)
        dropout.register_forward_hook(self._after)

    def _before(self, *_: Any) -> None:
        self._stack.enter_context(torch.random.fork_rng())
        self._owner.num_draws += 1
        torch.manual_seed(self._owner.shared_seed + 1_000_003 * self._owner.num_draws)

    def _after(self, *_: Any) -> None:
        self._stack.close()
