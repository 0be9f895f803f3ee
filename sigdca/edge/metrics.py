"""What a running model has done, for its log, its updates, and Prometheus."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from sigdca.edge.histogram import Histogram
from sigdca.edge.outputs import listen

QUANTILES = (0.5, 0.99, 0.999)
_BUCKETS_US = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000)
_MAX_REQUEST_BYTES = 8192
_REQUEST_S = 2.0


class Counts:
    """Frames and what became of them.

    Attributes:
        met: done within the deadline.
        late: done after it.
        dropped: never done.
        switches: changes to another version.
        latency: from a frame's arrival to its result.
    """

    def __init__(self) -> None:
        """None so far."""
        self.met = self.late = self.dropped = self.switches = 0
        self.latency = Histogram()

    def told(self) -> dict[str, Any]:
        """All figures, by name."""
        latency = self.latency
        p50, p99, p999 = map(latency.quantile, QUANTILES)
        return {
            "frames": self.met + self.late + self.dropped,
            "met": self.met,
            "late": self.late,
            "dropped": self.dropped,
            "switches": self.switches,
            "latency_p50_us": p50,
            "latency_p99_us": p99,
            "latency_p999_us": p999,
            "latency_max_us": latency.max_us,
        }


def rss_bytes() -> int:
    """The memory that this process really has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def prometheus(counts: Counts, *, lost: int, version: int, model: str) -> bytes:
    """The figures in Prometheus's text format 0.0.4."""
    latency = counts.latency
    buckets = {f"{bound / 1e6:g}": latency.at_most(bound) for bound in _BUCKETS_US}
    buckets["+Inf"] = latency.count
    lines = [
        *_head("sigdca_frames_total", "counter", "frames, by what became of them"),
        *(f'sigdca_frames_total{{result="{name}"}} {getattr(counts, name)}' for name in _RESULTS),
        *_head("sigdca_results_lost_total", "counter", "results that nobody took"),
        f"sigdca_results_lost_total {lost}",
        *_head("sigdca_switches_total", "counter", "changes to another version"),
        f"sigdca_switches_total {counts.switches}",
        *_head("sigdca_rss_bytes", "gauge", "memory of the process"),
        f"sigdca_rss_bytes {rss_bytes()}",
        *_head("sigdca_model_info", "gauge", "the model that is live"),
        f'sigdca_model_info{{model="{_escaped(model)}",version="{version}"}} 1',
        *_head("sigdca_latency_seconds", "histogram", "from a frame's arrival to its result"),
        *(f'sigdca_latency_seconds_bucket{{le="{le}"}} {n}' for le, n in buckets.items()),
        f"sigdca_latency_seconds_sum {latency.total_us / 1e6}",
        f"sigdca_latency_seconds_count {latency.count}",
        *_head("sigdca_latency_max_seconds", "gauge", "the longest so far"),
        f"sigdca_latency_max_seconds {latency.max_us / 1e6}",
    ]
    return ("\n".join(lines) + "\n").encode()


_RESULTS = ("met", "late", "dropped")


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsServer:
    """Answers `GET /metrics`, one at a time, each for two seconds at most.

    Attributes:
        address: where it listens.
    """

    def __init__(self, address: str, render: Callable[[], bytes]) -> None:
        """Listens.

        Args:
            address: `HOST:PORT`; port 0: any.
            render: makes the text.

        Raises:
            JobError, StorageError: as `sigdca.edge.outputs.listen`.
        """
        self._render = render
        self._socket = listen(f"tcp:{address}")
        self.address = "{}:{}".format(*self._socket.getsockname()[:2])
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + _REQUEST_S
        request = b""
        while b"\r\n\r\n" not in request and len(request) < _MAX_REQUEST_BYTES:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            got = connection.recv(_MAX_REQUEST_BYTES - len(request))
            if not got:
                return
            request += got
        found = request.startswith((b"GET /metrics ", b"GET /metrics?"))
        body = self._render() if found else b"see /metrics\n"
        head = (
            f"HTTP/1.1 {'200 OK' if found else '404 Not Found'}\r\n"
            "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.settimeout(_REQUEST_S)
        connection.sendall(head.encode() + body)
