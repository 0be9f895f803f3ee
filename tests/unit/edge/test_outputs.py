"""Results: whole lines, to whoever takes them, and never a wait for those who do not."""

import os
import socket
import time

import pytest

from sigdca.edge.outputs import MAX_PENDING_BYTES, Lines, Server
from sigdca.errors import JobError, StorageError


def until(condition, message: str = "") -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.005)


def test_lines_on_a_pipe():
    reader, writer = os.pipe()
    output = Lines(writer, wait=True)
    output.put(b"one\n")
    output.put(b"two\n")
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        output.put(b"three\n")
    os.close(writer)


def test_a_pipe_that_nobody_empties_loses_whole_lines():
    reader, writer = os.pipe()
    output = Lines(writer, wait=False)
    line = b"x" * 999 + b"\n"
    for _ in range(100):
        output.put(line)
    assert output.lost > 0
    found = os.read(reader, 10**6)
    assert found == line * (100 - output.lost)
    os.close(reader)
    os.close(writer)


def test_a_full_disk_is_said():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(StorageError) as caught:
        Lines(file.fileno(), wait=True).put(b"x\n")
    assert str(caught.value) == "standard output: cannot write: No space left on device"


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_all_who_connect_get_all_lines(tmp_path, kind):
    server = Server(f"unix:{tmp_path}/s" if kind == "unix" else "tcp:127.0.0.1:0")
    server.put(b"nobody hears this\n")
    clients = [connected(server.address) for _ in range(2)]
    until(lambda: len(server._clients) == 2)
    server.put(b"one\n")
    assert clients[0].recv(100) == b"one\n"
    clients[0].close()
    for _ in range(3):  # a client that has gone is forgotten, in time
        server.put(b"two\n")
        time.sleep(0.01)
    assert clients[1].recv(16, socket.MSG_WAITALL) == b"one\n" + 3 * b"two\n"
    assert len(server._clients) == 1
    clients[1].close()
    server.close()
    assert not (tmp_path / "s").exists()


def connected(address: str) -> socket.socket:
    if address.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(address.removeprefix("unix:"))
        return client
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    return socket.create_connection((host, int(port)))


def test_a_client_that_does_not_read_gets_whole_lines_or_none(tmp_path):
    server = Server(f"unix:{tmp_path}/s")
    client = connected(server.address)
    until(lambda: server._clients)
    line = b"y" * 4999 + b"\n"
    for _ in range(1000):
        server.put(line)
    assert server.lost > 0
    client.settimeout(1)
    received = b""
    while len(received) < len(line) * (1000 - server.lost):
        received += client.recv(10**6)
        server.put(b"")  # what is pending goes out when there is room
    assert received == line * (1000 - server.lost)
    assert 5_000_000 - len(received) > MAX_PENDING_BYTES
    client.close()
    server.close()


def test_a_socket_left_behind_is_taken_over(tmp_path):
    old = socket.socket(socket.AF_UNIX)
    old.bind(f"{tmp_path}/s")
    old.close()
    Server(f"unix:{tmp_path}/s").close()


@pytest.mark.parametrize(
    "address", ["", "unix:", "tcp:1", "tcp::1", "tcp:localhost:x", "tcp:a:70000", "udp:a"]
)
def test_what_is_no_address(address):
    with pytest.raises(JobError, match="address must be unix:PATH or tcp:HOST:PORT, got"):
        Server(address)


def test_where_nothing_can_listen(tmp_path):
    with pytest.raises(StorageError, match="cannot listen"):
        Server(f"unix:{tmp_path}/none/s")
    with pytest.raises(StorageError, match="cannot listen"):
        Server("tcp:192.0.2.1:80")
