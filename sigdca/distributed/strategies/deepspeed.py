"""`deepspeed`: ZeRO, stages 1 to 3: optimizer state, gradients and weights are spread in turn."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sigdca.distributed.strategies.sharded import Spread
from sigdca.errors import JobError
from sigdca.training import MakeOptimizer, Rows, Whole
from sigdca.training.parallel import State
from sigdca.training.tensors import fill_

BUCKET = 2**24  # weights whose gradients are sent together; a larger layer goes alone
MISSING = "train.strategy: deepspeed is not installed: pip install 'sigdca[deepspeed]'"


class ZeroParallel(Spread):
    """DeepSpeed's engine (Rajbhandari et al., SC 2020); `train.deepspeed` is its configuration."""

    @classmethod
    def check(cls, model: nn.Module, sample: Tensor) -> None:
        """See `Spread`; and whether DeepSpeed is installed here, as it must be on the workers."""
        super().check(model, sample)
        if importlib.util.find_spec("deepspeed") is None:
            raise JobError(MISSING)

    def _set_up(
        self, model: nn.Module, make_optimizer: MakeOptimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        library = _library(self.place.device)
        spread = self.copied(model)
        spread.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._engine, optimizer, _, _ = library.initialize(
            model=spread,
            optimizer=make_optimizer(spread.parameters()),
            config=self._config(sum(p.numel() for p in spread.parameters())),
            dist_init_required=False,
        )
        return self._engine, optimizer

    def _config(self, num_weights: int) -> dict[str, Any]:
        options = self.setting.options
        parts = self.setting.accumulation_steps
        share = self.setting.batch_size // self.place.world_size // parts
        # The library's own buffers are for networks a hundred times as large: gigabytes.
        size = min(BUCKET, -(-num_weights // 1024) * 1024)
        buffers = dict.fromkeys(("reduce_bucket_size", "allgather_bucket_size"), size)
        mixed = self.setting.autocast is not None
        zero = {"stage": 2, **buffers, **options.get("zero_optimization", {})}
        return {
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 2**31,
            "gradient_clipping": 0.0,  # the library's default is 1, and another loss curve
            **options,
            "zero_optimization": zero,
            "train_micro_batch_size_per_gpu": share,
            "gradient_accumulation_steps": parts,
            "torch_autocast": {"enabled": mixed, "dtype": "bfloat16"},
        }

    @property
    def parts(self) -> nn.Module:
        """The module inside the engine."""
        inner: nn.Module = self._engine.module
        return inner

    def zero_grad(self) -> None:
        """The engine does so at the end of each step."""

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """The engine counts the parts; its step after all but the last moves nothing."""
        yield
        if not last:
            self._engine.step()

    def backward(self, loss: Tensor) -> None:
        """By the engine, which averages."""
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self) -> None:
        """By the engine."""
        self._engine.step()

    def gathered(self, part: Tensor) -> Tensor:
        """By an all-reduce or an all-gather."""
        from deepspeed.utils import safe_get_full_fp32_param

        whole = safe_get_full_fp32_param(part)
        return part.detach() if whole is None else whole.detach()

    def keep_(self, part: Tensor, whole: Rows) -> None:
        """Both the optimizer's copy and the one that computes."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        if not isinstance(part, nn.Parameter):
            fill_(part, whole)
        elif (here := getattr(part, "ds_tensor", None)) is not None:  # stage 3
            own = self._own(part, whole)
            safe_set_local_fp32_param(part, own)
            here.view(-1).copy_(own)
            if part.shape == whole.shape:  # so small that it is whole everywhere
                fill_(part.data, whole)
        else:
            safe_set_full_fp32_param(part, whole[...])
            fill_(part.data, whole)

    def gathered_gradient(self, part: nn.Parameter) -> Tensor | None:
        """By an all-reduce or an all-gather."""
        from deepspeed.utils import safe_get_full_grad

        whole: Tensor | None = safe_get_full_grad(part)
        return None if whole is None else whole.clone()

    def keep_gradient_(self, part: nn.Parameter, whole: Tensor) -> None:
        """Without communication."""
        from deepspeed.utils import safe_set_full_grad, safe_set_local_grad

        if hasattr(part, "ds_id"):
            safe_set_local_grad(part, self._own(part, whole))
        else:
            safe_set_full_grad(part, whole)

    def pieces(self, part: Tensor, key: str | None = None) -> Iterator[Tensor]:
        """Under stage 3, process by process; otherwise a layer at a time.

        Args:
            part: a parameter or a buffer.
            key: asks for what the optimizer keeps of it under this name.
        """
        from deepspeed.utils import (
            safe_get_full_optimizer_state,
            safe_get_local_fp32_param,
            safe_get_local_optimizer_state,
        )

        if (length := getattr(part, "ds_numel", None)) is not None:  # stage 3
            if key is None:
                own = safe_get_local_fp32_param(part)
            else:
                own = safe_get_local_optimizer_state(part, key)
            yield from self.runs(own.detach(), own.numel(), length)
        elif key is None:
            yield from super().pieces(self.gathered(part))
        else:
            yield from super().pieces(safe_get_full_optimizer_state(part, key))

    def state(self) -> State[Whole]:
        """In the form of torch's own optimizer, so that another strategy can go on."""
        self._share_buffers()
        model = {
            name: Whole(tuple(whole.shape), whole.dtype, self.pieces(part))
            for (name, part), (_, whole) in zip(
                self._parts().items(), self.model.state_dict().items(), strict=True
            )
        }
        inner = self._inner_state()
        return model, {
            number: {
                key: Whole(tuple(whole.shape), value.dtype, self.pieces(part, key))
                if value.dim()
                else self._whole(value)
                for key, value in inner.items()
            }
            for number, (part, whole) in enumerate(
                zip(self.parts.parameters(), self.model.parameters(), strict=True)
            )
        }

    def load(self, model: Mapping[str, Rows], optimizer: Mapping[int, Mapping[str, Rows]]) -> None:
        """Each process keeps its parts."""
        self._make_states()
        with torch.no_grad():
            for name, part in self._parts().items():
                self.keep_(part, model[name])
        for number, part in enumerate(self.parts.parameters()):
            for key, value in optimizer.get(number, {}).items():
                self._load_state(part, key, value)

    def _make_states(self) -> None:
        """A step of no length: the library has no optimizer state before the first."""
        training = self._engine.training
        self._engine.eval()
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        for _ in range(self.setting.accumulation_steps):
            self.backward(self._engine(self.setting.sample).sum() * 0.0)
            self.step()
        self._engine.train(training)

    def _load_state(self, part: nn.Parameter, key: str, value: Rows) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if not value.shape:
            for state in self._engine.basic_optimizer.state.values():
                state[key] = value[...].clone()
        elif hasattr(part, "ds_id"):
            safe_set_local_optimizer_state(part, self._own(part, value), key)
        else:
            safe_set_full_optimizer_state(part, value[...], key)

    def _inner_state(self) -> dict[str, Any]:
        """The state that torch's optimizer has of one of the engine's flat tensors."""
        states = self._engine.basic_optimizer.state.values()
        return dict(next(iter(states), {}))

    def _own(self, part: Any, whole: Rows) -> Tensor:
        """This process's part of a whole tensor, flat and padded with zeros as stage 3 does."""
        size = part.ds_tensor.numel()
        return flat(whole, self.place.rank * size, size)


def flat(whole: Rows, start: int, size: int) -> Tensor:
    """So many values of a tensor in row-major order, and zeros behind its end.

    Args:
        whole: no more of its rows are read than those values lie in.
        start: the first value.
        size: how many.
    """
    if not whole.shape:
        found, skipped = whole[...], start
    else:
        width = max(1, math.prod(whole.shape[1:]))
        first, last = (
            min(row, whole.shape[0]) for row in (start // width, -(-(start + size) // width))
        )
        found, skipped = whole[first:last], start - first * width
    found = found.reshape(-1)[skipped:][:size]
    return torch.cat([found, found.new_zeros(size - len(found))])


def _library(device: str) -> Any:
    """DeepSpeed, set up for the device.

    Raises:
        JobError: it is not installed.
    """
    if not device.startswith("cuda"):
        os.environ["DS_ACCELERATOR"] = "cpu"
    os.environ.setdefault("LOCAL_RANK", "0")  # Ray sets it; alone, there is one process
    try:
        import deepspeed
    except ImportError as error:
        raise JobError(MISSING) from error
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # It would be compiled now, by whatever compiler this node has; torch's gloo does as well.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
