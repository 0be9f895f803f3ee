"""Strategies: how several processes train one model. One file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from sigdca.training import Parallel

_CLASSES = {
    "ddp": "DataParallel",
    "deepspeed": "ZeroParallel",
    "fsdp": "FullyShardedDataParallel",
    "horovod": "HorovodParallel",
    "hybrid": "HybridParallel",
}


class _Strategies(Mapping[str, type[Parallel]]):
    """Imports a strategy's file when it is asked for: some take seconds of each worker's start."""

    def __getitem__(self, name: str) -> type[Parallel]:
        class_name = _CLASSES[name]
        found: type[Parallel] = getattr(import_module(f"{__name__}.{name}"), class_name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


STRATEGIES = _Strategies()
"""What `train.strategy` may say, and the class that does it."""

__all__ = ["STRATEGIES"]
