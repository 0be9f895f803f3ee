"""Strategies: how several processes train one model. One file each."""

from __future__ import annotations

from sigdca.distributed.strategies.ddp import DataParallel
from sigdca.distributed.strategies.deepspeed import ZeroParallel
from sigdca.distributed.strategies.fsdp import FullyShardedDataParallel
from sigdca.distributed.strategies.horovod import HorovodParallel
from sigdca.distributed.strategies.hybrid import HybridParallel
from sigdca.training import Parallel

STRATEGIES: dict[str, type[Parallel]] = {
    "ddp": DataParallel,
    "deepspeed": ZeroParallel,
    "fsdp": FullyShardedDataParallel,
    "horovod": HorovodParallel,
    "hybrid": HybridParallel,
}
"""What `train.strategy` may say, and the class that does it."""

__all__ = ["STRATEGIES"]
