"""How Horovod's processes find each other: who is who, and a server where they leave addresses."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sigdca.errors import JobError

MISSING = "train.strategy: horovod is not installed: run `make horovod`"
# Where the user's environment is silent.
DEFAULTS = {
    # To meet, and for each exchange: the slowest process may still be importing torch.
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "120",
    # Which gradients travel together depends on time, and on that the order of the sums of three
    # or more processes: each alone gives the same bits in every run.
    "HOROVOD_FUSION_THRESHOLD": "0",
}


@dataclass(frozen=True)
class Slot:
    """One process among Horovod's.

    Attributes:
        hostname: what its node is called; any name that no other node has.
        rank: among all.
        size: the number of all.
        local_rank: among those of its node.
        local_size: the number of those.
        cross_rank: among those of other nodes that have the same local rank.
        cross_size: the number of those, this one included.
    """

    hostname: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int


def slots(hostnames: Sequence[str]) -> list[Slot]:
    """Who is who.

    Args:
        hostnames: the node of each process, by rank.
    """
    found = []
    for rank, hostname in enumerate(hostnames):
        local_rank = hostnames[:rank].count(hostname)
        reaching = [
            name for name in dict.fromkeys(hostnames) if hostnames.count(name) > local_rank
        ]
        found.append(
            Slot(
                hostname,
                rank,
                len(hostnames),
                local_rank,
                hostnames.count(hostname),
                reaching.index(hostname),
                len(reaching),
            )
        )
    return found


class Rendezvous:
    """Horovod's own server, on one address of this machine.

    It asks for no secret, and any host that reaches it could join: like torch's store, it belongs
    into a network that is trusted.
    """

    def __init__(self, address: str, hostnames: Sequence[str]) -> None:
        """Starts it.

        Args:
            address: an address of this machine that all processes reach.
            hostnames: the node of each process, by rank.

        Raises:
            JobError: Horovod is not installed.
            OSError: the address is not this machine's.
        """
        try:
            from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer
        except ImportError as error:
            raise JobError(MISSING) from error

        class Handler(RendezvousHandler):  # type: ignore[misc]  # Horovod has no types
            # Inherited from a server of files, it would tell which files there are.
            def do_HEAD(self) -> None:  # noqa: N802  # http.server's name
                self.send_status_code(405)

        self._slots = slots(hostnames)
        self._server = RendezvousHTTPServer((address, 0), Handler, False)
        self._server.daemon_threads = True
        self._server.init(self._slots)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def environments(self) -> list[dict[str, str]]:
        """What each process must have in its environment before it starts Horovod, by rank."""
        address, port = self._server.server_address[:2]
        settings = {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}
        return [
            {
                **settings,
                "HOROVOD_CONTROLLER": "gloo",
                "HOROVOD_CPU_OPERATIONS": "gloo",
                "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
                "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
                "HOROVOD_HOSTNAME": slot.hostname,
                "HOROVOD_RANK": str(slot.rank),
                "HOROVOD_SIZE": str(slot.size),
                "HOROVOD_LOCAL_RANK": str(slot.local_rank),
                "HOROVOD_LOCAL_SIZE": str(slot.local_size),
                "HOROVOD_CROSS_RANK": str(slot.cross_rank),
                "HOROVOD_CROSS_SIZE": str(slot.cross_size),
            }
            for slot in self._slots
        ]

    def stop(self) -> None:
        """Ends the server and gives its port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def meeting(address: str, hostnames: Sequence[str]) -> Iterator[list[dict[str, str]]]:
    """A rendezvous for as long as the processes need it; see `Rendezvous`.

    Yields:
        The environment of each process, by rank.
    """
    rendezvous = Rendezvous(address, hostnames)
    try:
        yield rendezvous.environments()
    finally:
        rendezvous.stop()
