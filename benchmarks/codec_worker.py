"""Encodes or decodes a network in a process of its own: `codec_worker.py GRAPH WEIGHTS OUT CODER`.

Without CODER, OUT is decoded and compared with WEIGHTS. Prints one line of JSON: bytes, seconds,
the most memory that the process held (Linux's VmHWM), and whether the weights are bit for bit what
was encoded. SIGDCA_THREADS: how many threads.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

from sigdca.codec import Graph, Op, decode_container, encode_container
from sigdca.codec.graph_bytes import get_graph


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def warm_up(coder: str) -> None:
    """Loads what is loaded once: a few weights there and back."""
    fc = Op("fc", "ip", (1,), {"out_features": 256, "bias": 0})
    graph = Graph((1, 1, 256), 1.0, (Op("flatten", "", (0,), {}), fc))
    weights = np.eye(256, dtype=np.float32)
    decode_container(encode_container(graph, {"ip.weight": weights}, coder=coder))


def main() -> None:
    """Does what the command line says."""
    warm_up("rans")
    warm_up("arithmetic")
    graph_path, weights_path, path, *coder = sys.argv[1:]
    threads = int(os.environ["SIGDCA_THREADS"])
    if coder:
        graph = get_graph(memoryview(Path(graph_path).read_bytes()))
        with np.load(weights_path) as file:
            weights = {name: file[name] for name in file.files}
        start = time.perf_counter()
        content = encode_container(graph, weights, coder=coder[0], threads=threads)
        seconds = time.perf_counter() - start
        peak, same = peak_bytes(), True
        Path(path).write_bytes(content)
    else:
        content = Path(path).read_bytes()
        start = time.perf_counter()
        tensors = decode_container(content, threads=threads).tensors
        seconds = time.perf_counter() - start
        peak = peak_bytes()
        with np.load(weights_path) as file:
            same = all(
                np.array_equal(tensors[name].view(np.uint32), file[name].view(np.uint32))
                for name in file.files
            )
    print(json.dumps({"bytes": len(content), "s": seconds, "peak_bytes": peak, "same": same}))


if __name__ == "__main__":
    main()
