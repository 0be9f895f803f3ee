"""Networks for the contract: every operator kind as a graph, and as torch says it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from sigdca.codec import Graph, Op
from sigdca.codec.graph import expected_tensors


@dataclass(frozen=True)
class Network:
    """A graph with weights that fit it, and images."""

    graph: Graph
    tensors: Mapping[str, np.ndarray]
    images: np.ndarray


def network(*ops: Op, shape=(3, 9, 7), scale: float = 1 / 256, num_images: int = 7) -> Network:
    """The operators with random weights; a value that is no vector is flattened at the end."""
    rng = np.random.default_rng(len(ops))
    graph = Graph(shape, scale, ops)
    tensors = {}
    for name, size in expected_tensors(graph).items():
        value = rng.standard_normal(size).astype(np.float32)
        if name.endswith(".weight") and len(size) > 1:
            value /= np.sqrt(np.prod(size[1:]), dtype=np.float32)
        if name.endswith(".running_var"):
            value = np.abs(value) + np.float32(0.5)
        tensors[name] = value
    images = rng.integers(0, 256, (num_images, *shape), dtype=np.uint8)
    return Network(graph, tensors, images)


def conv(name: str, source: int, out: int, **attrs) -> Op:
    defaults = {
        "out_channels": out,
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
        "bias": 1,
    }
    return Op("conv", name, (source,), defaults | attrs)


def fc(name: str, source: int, out: int, bias: int = 1) -> Op:
    return Op("fc", name, (source,), {"out_features": out, "bias": bias})


def pool(kind: str, source: int, **attrs) -> Op:
    defaults = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0}
    if kind == "avg_pool":
        defaults["include_pad"] = 1
    return Op(kind, "", (source,), defaults | attrs)


def plain(kind: str, *sources: int, **attrs) -> Op:
    return Op(kind, "", sources, attrs)


NETWORKS: dict[str, Network] = {
    "conv": network(conv("c", 0, 5), plain("flatten", 1)),
    "conv, every attribute": network(
        conv(
            "a.b",
            0,
            6,
            kernel=(3, 2),
            stride=(2, 1),
            padding=(2, 1),
            dilation=(1, 2),
            groups=3,
            bias=0,
        ),
        plain("flatten", 1),
    ),
    "conv, depthwise": network(conv("c", 0, 3, groups=3), plain("flatten", 1)),
    "fc": network(plain("flatten", 0), fc("ip1", 1, 11), fc("ip2", 2, 4, bias=0)),
    "max_pool": network(pool("max_pool", 0), plain("flatten", 1)),
    "max_pool, padded, rounded up": network(
        pool("max_pool", 0, kernel=(3, 3), padding=(1, 1), ceil=1), plain("flatten", 1)
    ),
    "avg_pool": network(pool("avg_pool", 0), plain("flatten", 1)),
    "avg_pool, padded, rounded up": network(
        pool("avg_pool", 0, kernel=(3, 2), padding=(1, 1), ceil=1), plain("flatten", 1)
    ),
    "avg_pool, padding left out, rounded up": network(
        pool("avg_pool", 0, kernel=(3, 2), padding=(1, 1), ceil=1, include_pad=0),
        plain("flatten", 1),
    ),
    "global_avg_pool": network(plain("global_avg_pool", 0), plain("flatten", 1)),
    "relu": network(conv("c", 0, 4), plain("relu", 1), plain("flatten", 2)),
    "relu6, twice": network(
        conv("c", 0, 4), plain("relu6", 1), conv("d", 2, 4), plain("relu6", 3),
        plain("flatten", 4), scale=1.0,
    ),
    "softmax over features": network(plain("flatten", 0), fc("f", 1, 9), plain("softmax", 2)),
    "softmax over channels": network(conv("c", 0, 4), plain("softmax", 1), plain("flatten", 2)),
    "lrn": network(
        conv("c", 0, 8), plain("lrn", 1, size=5, alpha=0.3, beta=0.6, k=2.0), plain("flatten", 2)
    ),
    "batch_norm": network(
        conv("c", 0, 8), Op("batch_norm", "bn", (1,), {"eps": 1e-3}), plain("flatten", 2)
    ),
    "add, a value used twice": network(
        conv("c", 0, 3, padding=(1, 1)), plain("add", 0, 1), plain("relu", 2), plain("add", 3, 3),
        plain("flatten", 4),
    ),
    "concat of three": network(
        conv("c", 0, 2, padding=(1, 1)), plain("concat", 0, 1, 0), plain("flatten", 2)
    ),
    "raw pixels": network(plain("flatten", 0), fc("f", 1, 5), scale=1.0),
    "lenet-300-100": network(
        plain("flatten", 0), fc("ip1", 1, 300), plain("relu", 2), fc("ip2", 3, 100),
        plain("relu", 4), fc("ip3", 5, 10), shape=(1, 28, 28), num_images=60,
    ),
    "lenet-5": network(
        conv("conv1", 0, 20, kernel=(5, 5)), pool("max_pool", 1),
        conv("conv2", 2, 50, kernel=(5, 5)), pool("max_pool", 3),
        plain("flatten", 4), fc("ip1", 5, 500), plain("relu", 6), fc("ip2", 7, 10),
        shape=(1, 28, 28), num_images=60,
    ),
}  # fmt: skip


class Make:
    """The helpers above for test modules, which cannot import this file."""

    network = staticmethod(network)
    conv = staticmethod(conv)
    fc = staticmethod(fc)
    pool = staticmethod(pool)
    plain = staticmethod(plain)
    networks = NETWORKS


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


@pytest.fixture(params=NETWORKS)
def sample(request) -> Network:
    """Each of the networks."""
    return NETWORKS[request.param]
