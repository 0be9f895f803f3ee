"""Horovod in the workers of Ray Train V2, whose own HorovodTrainer is gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

import ray
import ray.util
from ray.train.backend import Backend, BackendConfig

from sigdca.distributed.rendezvous import Rendezvous

SHUTDOWN_TIMEOUT_S = 10.0  # where a worker was lost, the others have no one to say goodbye to


class HorovodConfig(BackendConfig):  # type: ignore[misc]  # Ray's classes are not typed here
    """Makes Ray Train set up Horovod, where it would set up torch's process group."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What does it."""
        return HorovodBackend


class HorovodBackend(Backend):  # type: ignore[misc]
    """Each group of workers meets at a server of its own, in the process that controls them.

    A worker's rank is the same for Ray and for Horovod.
    """

    share_cuda_visible_devices = True  # NCCL reaches the node's other GPUs so

    def __init__(self) -> None:
        self._rendezvous: Rendezvous | None = None

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Says to each worker who it is and where to meet."""
        self._stop()
        nodes = worker_group.execute(_node_id)
        self._rendezvous = Rendezvous(ray.util.get_node_ip_address(), nodes)
        ray.get(
            [
                worker_group.execute_single_async(rank, _prepare, environment)
                for rank, environment in enumerate(self._rendezvous.environments())
            ]
        )

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Ends Horovod in all workers at once, then the server."""
        try:
            ray.wait(
                worker_group.execute_async(_end),
                num_returns=len(worker_group),
                timeout=SHUTDOWN_TIMEOUT_S,
            )
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._rendezvous is not None:
            self._rendezvous.stop()
            self._rendezvous = None


def _node_id() -> str:
    node: str = ray.get_runtime_context().get_node_id()
    return node


def _prepare(environment: Mapping[str, str]) -> None:
    """Sets a worker's environment; a network interface that the user has chosen stays."""
    os.environ.update(environment)
    interface = _interface_of(ray.util.get_node_ip_address())
    if interface is not None:
        # Else it takes the address that the host's own name has: often the loopback's.
        os.environ.setdefault("HOROVOD_GLOO_IFACE", interface)


def _interface_of(address: str) -> str | None:
    """The network interface of this machine that has an address."""
    import psutil  # comes with Horovod

    for name, found in psutil.net_if_addrs().items():
        if any(a.family == socket.AF_INET and a.address == address for a in found):
            return str(name)
    return None


def _end() -> None:
    try:
        import horovod.torch as library
    except (ImportError, OSError):
        return  # the strategy has said so
    if library.is_initialized():
        library.shutdown()
