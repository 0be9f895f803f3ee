"""Metrics: Prometheus's format, and a server that a bad client cannot hold up."""

import re
import socket
import urllib.error
import urllib.request

import pytest

from sigdca.edge.metrics import Counts, MetricsServer, prometheus, rss_bytes


@pytest.fixture
def counts():
    counts = Counts()
    counts.met, counts.late, counts.dropped = 98, 1, 1
    for value in range(1, 100):
        counts.latency.add(10 * value)
    return counts


def test_text(counts):
    text = prometheus(counts, lost=3, version=7, model='a"b\\').decode()
    assert 'sigdca_frames_total{result="late"} 1\n' in text
    assert 'sigdca_model_info{model="a\\"b\\\\",version="7"} 1\n' in text
    assert "sigdca_results_lost_total 3\n" in text
    assert 'sigdca_latency_seconds_bucket{le="+Inf"} 99\n' in text
    assert "sigdca_latency_seconds_sum 0.0495\nsigdca_latency_seconds_count 99\n" in text
    line = re.compile(r"# (HELP|TYPE) sigdca_\w+ .+|sigdca_\w+(\{\w+=.+\})? [0-9.e+-]+")
    assert all(line.fullmatch(one) for one in text.splitlines())
    buckets = [int(n) for n in re.findall(r'bucket\{le="[^"]+"\} (\d+)', text)]
    assert buckets == sorted(buckets)


def test_told(counts):
    told = counts.told()
    assert told["frames"] == 100
    assert told["latency_max_us"] == 990
    assert 490 <= told["latency_p50_us"] <= 520


def test_rss_is_this_process():
    assert 5_000_000 < rss_bytes() < 10**11


def test_rss_is_counted_in_the_kernels_pages(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 2**30}[name])
    assert rss_bytes() % 2**30 == 0


def test_over_http(counts):
    server = MetricsServer("127.0.0.1:0", lambda: prometheus(counts, lost=0, version=1, model="m"))
    host, port = server.address.split(":")
    silent = socket.create_connection((host, int(port)))
    silent.sendall(b"GET /met")
    silent.close()  # went away in the middle
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"sigdca_frames_total" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{server.address}/", timeout=5)
    flood = socket.create_connection((host, int(port)))
    try:
        flood.sendall(b"x" * 100_000)
        assert b"404" in flood.recv(100)
    except ConnectionError:
        pass  # closed before it was all sent
    flood.close()
    server.close()
