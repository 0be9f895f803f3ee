"""Where results go: lines on standard output, or to whoever has connected to a socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from pathlib import Path
from typing import Protocol

from sigdca.errors import JobError, StorageError

MAX_CLIENTS = 16
MAX_PENDING_BYTES = 65_536
_POLL_MS = 100


class Output(Protocol):
    """Takes results.

    Attributes:
        lost: results that nobody took in time.
    """

    lost: int

    def put(self, line: bytes) -> None:
        """Hands a line over, its line end included. Never waits, unless it was made to.

        Raises:
            BrokenPipeError: nobody will ever read it.
            StorageError: it cannot be written.
        """
        ...

    def interrupt(self) -> None:
        """From now on nobody is waited for."""
        ...

    def close(self) -> None:
        """Hands over what is still waiting, for a moment at most."""
        ...


class Lines:
    """Lines on a file descriptor."""

    def __init__(self, descriptor: int, *, wait: bool) -> None:
        """Writes to a descriptor.

        Args:
            descriptor: of a pipe, a file or a terminal.
            wait: for a reader that is slow; if not, lines that it cannot take are lost.
        """
        self.lost = 0
        self._descriptor, self._wait = descriptor, wait
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def put(self, line: bytes) -> None:
        """See `Output.put`."""
        # A pipe that says it is ready takes PIPE_BUF bytes without waiting.
        while not self._poll.poll(_POLL_MS if self._wait else 0):
            if not self._wait:
                self.lost += 1
                return
        try:
            while line:  # a result is shorter than PIPE_BUF
                line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"standard output: cannot write: {error.strerror}") from error

    def interrupt(self) -> None:
        """See `Output.interrupt`."""
        self._wait = False

    def close(self) -> None:
        """Nothing waits here."""


class _Client:
    """One who has connected. Lines reach it whole or not at all."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._pending = connection, bytearray()

    def put(self, line: bytes) -> bool:
        """Whether the line was taken.

        Raises:
            OSError: the client is gone.
        """
        room = len(self._pending) + len(line) <= MAX_PENDING_BYTES
        if room:
            self._pending += line
        with contextlib.suppress(BlockingIOError):
            del self._pending[: self._connection.send(self._pending)]
        return room

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.settimeout(0.5)
            self._connection.sendall(self._pending)
        self._connection.close()


class Server:
    """Lines to all who connect to a Unix or TCP socket.

    Attributes:
        address: where it listens, as given, with the port that the system chose for port 0.
    """

    def __init__(self, address: str) -> None:
        """Listens.

        Args:
            address: `unix:PATH` or `tcp:HOST:PORT`.

        Raises:
            JobError: the address is none.
            StorageError: it cannot be listened on.
        """
        self.lost = 0
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._socket = listen(address)
        self.address = address
        if self._socket.family != socket.AF_UNIX:
            host, port = self._socket.getsockname()[:2]
            self.address = f"tcp:{host}:{port}"
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def put(self, line: bytes) -> None:
        """See `Output.put`."""
        if not self._clients:
            return
        with self._lock:
            for client in tuple(self._clients):
                try:
                    self.lost += not client.put(line)
                except OSError:
                    self._clients.remove(client)
                    client.close()

    def interrupt(self) -> None:
        """Nobody is waited for anyhow."""

    def close(self) -> None:
        """See `Output.close`."""
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()
        if self._socket.family == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                os.unlink(self._socket.getsockname())
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            connection.setblocking(False)
            with self._lock:
                if len(self._clients) < MAX_CLIENTS:
                    self._clients.append(_Client(connection))
                else:
                    connection.close()


def listen(address: str) -> socket.socket:
    """A socket that listens on `unix:PATH` or `tcp:HOST:PORT`.

    Raises:
        JobError: the address is none.
        StorageError: it cannot be listened on.
    """
    kind, _, place = address.partition(":")
    host, _, port = place.rpartition(":")
    tcp = kind == "tcp" and host and port.isdecimal() and int(port) < 2**16
    if not tcp and not (kind == "unix" and place):
        raise JobError(f"address must be unix:PATH or tcp:HOST:PORT, got '{address}'")
    try:
        if tcp:
            return socket.create_server((host, int(port)), backlog=MAX_CLIENTS)
        return _unix(place)
    except OSError as error:
        raise StorageError(f"{address}: cannot listen: {error.strerror or error}") from error


def _unix(place: str) -> socket.socket:
    if Path(place).is_socket():  # left behind by one that was killed
        os.unlink(place)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.bind(place)
        found.listen(MAX_CLIENTS)
    except OSError:
        found.close()
        raise
    return found
