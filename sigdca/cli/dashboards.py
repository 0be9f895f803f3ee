"""The pages beside a search: optuna-dashboard on its trials, TensorBoard on its curves."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sigdca.errors import JobError
from sigdca.storage import Store

HOST = "127.0.0.1"


@contextlib.contextmanager
def dashboards(store: Store, journal: str) -> Iterator[dict[str, str]]:
    """Starts both for as long as the search runs.

    Args:
        store: the study's folder, on this machine's disk.
        journal: the name of Optuna's journal in it.

    Yields:
        Their addresses, by name.

    Raises:
        JobError: the study does not lie on a local disk.
    """
    if not store.is_local:
        raise JobError(f"--dashboard: the study must lie on a local disk, not at {store.root}")
    for old in Path(store.root).glob(f"{journal}*"):
        old.unlink()  # it is made anew, and must not be read before
    commands = {
        "optuna-dashboard": [
            *("-m", "optuna_dashboard._cli", store.path(journal)),
            *("--storage-class", "JournalFileStorage", "--host", HOST, "--quiet"),
        ],
        "tensorboard": [
            *("-m", "tensorboard.main", "--logdir", store.root, "--host", HOST),
        ],
    }
    addresses: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            port = str(_free_port())
            stack.enter_context(_running([*command, "--port", port]))
            addresses[name] = f"http://{HOST}:{port}"
        yield addresses


@contextlib.contextmanager
def _running(arguments: list[str]) -> Iterator[None]:
    """A Python program that ends with this block, and with this process however that ends."""
    command = [sys.executable, *arguments]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        command = [setpriv, "--pdeathsig", "TERM", *command]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
