"""Signed bundles of tiny containers, and a device that takes them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigdca.codec import Graph, Op, encode_container
from sigdca.edge.keys import public_text
from sigdca.edge.self_test import self_test
from sigdca.edge.signing import sign_container
from sigdca.edge.update import Device, Settings, set_up

TARGET = "atom-x5-e3940"
SHAPE = (1, 4, 4)


def container(seed: int, shape: tuple[int, int, int] = SHAPE) -> bytes:
    """A container of 3 classes; another seed, other weights."""
    rng = np.random.default_rng(seed)
    graph = Graph(
        shape,
        1 / 256,
        (Op("flatten", "", (0,)), Op("fc", "f", (1,), {"out_features": 3, "bias": 1})),
    )
    tensors = {
        "f.weight": rng.standard_normal((3, math.prod(shape))).astype(np.float32),
        "f.bias": rng.standard_normal(3).astype(np.float32),
    }
    return encode_container(graph, tensors)


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def settings(key: Ed25519PrivateKey) -> Settings:
    return Settings(TARGET, "stable", (public_text(key.public_key()),))


@pytest.fixture
def device(tmp_path: Path, settings: Settings) -> Device:
    set_up(tmp_path / "device", settings)
    return Device(tmp_path / "device", prove=self_test)


@pytest.fixture
def bundle(key: Ed25519PrivateKey) -> Callable[..., bytes]:
    """A bundle of some version; other things of it can be changed."""

    def make(version: int, shape: tuple[int, int, int] = SHAPE, **changes: object) -> bytes:
        told = {"channel": "stable", "targets": (TARGET,), "key": key, "model": "tiny"} | changes
        return sign_container(container(version, shape), version=version, **told)

    return make
