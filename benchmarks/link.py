"""Two hosts on one machine, whose link lets so many bits a second through; needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

NET = "10.214.0"


@contextlib.contextmanager
def two_hosts(megabits: int | None) -> Iterator[list[list[str]]]:
    """Yields, for each host, the words before a command that runs it there.

    Args:
        megabits: the link's rate each way in Mbit/s; None: as fast as the machine.
    """
    mark = f"sl{os.getpid() % 100000}"
    spaces = [f"{mark}-{number}" for number in range(2)]
    try:
        for space in spaces:
            _ip("netns", "add", space)
        ends = ("type", "veth", "peer", "name", "eth0", "netns", spaces[1])
        _ip("link", "add", "eth0", "netns", spaces[0], *ends)
        for number, space in enumerate(spaces):
            _ip("-n", space, "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            if megabits is not None:
                shape = ("root", "tbf", "rate", f"{megabits}mbit", "burst", "256kb")
                command = ["tc", "-n", space, "qdisc", "add", "dev", "eth0", *shape]
                subprocess.run([*command, "latency", "100ms"], check=True)
        yield [["ip", "netns", "exec", space] for space in spaces]
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
