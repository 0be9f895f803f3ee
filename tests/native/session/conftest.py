"""Networks to run natively, and a session whose kernel is chosen by the test."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from sigdca.codec import Graph, Op, encode_container, expected_tensors
from sigdca.native import Model, NativeError, Session
from sigdca.native import library as c

CONV, FC = 1, 2
_WINDOW = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0}


class ForcedSession(Session):
    """A session in which each layer that a kernel can compute takes that kernel."""

    def __init__(self, model: Model, kernel: str, **options) -> None:
        self._kernel = kernel.encode()
        super().__init__(model, **options)

    def _create(self, model, options, handle, error):
        create = c.library().sigdca_testing_session_create
        create.argtypes = (
            ctypes.c_void_p,
            ctypes.POINTER(c.CSessionOptions),
            ctypes.c_char_p,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.POINTER(c.CError),
        )
        return create(model.handle, options, self._kernel, handle, error)


@dataclass(frozen=True)
class Case:
    """A network with weights, and its container opened."""

    graph: Graph
    tensors: dict[str, np.ndarray]
    model: Model

    def images(self, n: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (n, *self.graph.input_shape), dtype=np.uint8)


class Make:
    """What builds the networks, for test modules, which cannot import this file."""

    ForcedSession = ForcedSession
    conv_code, fc_code = CONV, FC

    @staticmethod
    def kernels(isa: str, code: int) -> Iterator[str]:
        """An instruction set's kernels for conv (1) or fc (2)."""
        name_of = c.library().sigdca_testing_kernel_name
        name_of.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32)
        name_of.restype = ctypes.c_char_p
        index = 0
        while (name := name_of(isa.encode(), code, index)) is not None:
            yield name.decode()
            index += 1

    @staticmethod
    def case(*ops: Op, shape=(3, 9, 7), density=1.0, centroids=0, seed=0) -> Case:
        """The operators with random weights; centroids: distinct values of a tensor, 0: any."""
        rng = np.random.default_rng(seed)
        graph = Graph(shape, 1 / 256, ops)
        tensors = {}
        for name, size in expected_tensors(graph).items():
            value = rng.standard_normal(size).astype(np.float32)
            if name.endswith(".running_var"):
                value = np.abs(value) + np.float32(0.5)
            if name.endswith(".weight") and len(size) > 1:
                if centroids:
                    book = rng.standard_normal(centroids).astype(np.float32)
                    value = rng.choice(book, size)
                value *= rng.random(size) < density
                value /= np.sqrt(max(1, np.prod(size[1:]) * density), dtype=np.float32)
            tensors[name] = value + np.float32(0)
        return Case(graph, tensors, Model(encode_container(graph, tensors)))

    @staticmethod
    def case_bytes(case: Case) -> bytes:
        """A container of the network as its tensors are now."""
        return encode_container(case.graph, case.tensors)

    @staticmethod
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

    @staticmethod
    def fc(name: str, source: int, out: int, bias: int = 1) -> Op:
        return Op("fc", name, (source,), {"out_features": out, "bias": bias})

    @staticmethod
    def max_pool(source: int, **attrs) -> Op:
        return Op("max_pool", "", (source,), _WINDOW | attrs)

    @staticmethod
    def avg_pool(source: int, **attrs) -> Op:
        return Op("avg_pool", "", (source,), _WINDOW | {"include_pad": 1} | attrs)

    @staticmethod
    def plain(kind: str, *sources: int, **attrs) -> Op:
        return Op(kind, "", sources, attrs)

    @staticmethod
    def lenet_5(density: float = 0.1) -> Case:
        make = Make
        return make.case(
            make.conv("conv1", 0, 20, kernel=(5, 5)), make.max_pool(1),
            make.conv("conv2", 2, 50, kernel=(5, 5)), make.max_pool(3),
            make.plain("flatten", 4), make.fc("ip1", 5, 500), make.plain("relu", 6),
            make.fc("ip2", 7, 10),
            shape=(1, 28, 28), density=density, centroids=32,
        )  # fmt: skip

    @staticmethod
    def every_operator(density: float = 1.0) -> Case:
        """Branches, a value that lives long, a batch norm alone, and one behind a convolution."""
        make = Make
        return make.case(
            make.conv("c1", 0, 8, padding=(1, 1)),
            Op("batch_norm", "n1", (1,), {"eps": 1e-5}),
            make.plain("relu", 2),
            make.conv("c2", 3, 8, padding=(1, 1), groups=8, bias=0),
            make.plain("relu6", 4),
            make.plain("add", 3, 5),
            Op("batch_norm", "n2", (6,), {"eps": 1e-3}),
            make.max_pool(7, kernel=(3, 3), padding=(1, 1), ceil=1),
            make.plain("lrn", 8, size=5, alpha=0.5, beta=0.75, k=2.0),
            make.conv("left", 9, 4, kernel=(1, 1)),
            make.conv("right", 9, 6, padding=(2, 2), dilation=(2, 2)),
            make.plain("concat", 10, 11, 8),
            make.plain("softmax", 12),
            make.avg_pool(13, padding=(1, 1), ceil=1),
            make.plain("relu", 14),
            make.plain("global_avg_pool", 15),
            make.plain("flatten", 16),
            make.fc("last", 17, 5),
            make.plain("softmax", 18),
            shape=(3, 17, 14), density=density,
        )  # fmt: skip


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make


def outcome(session: Session, images: np.ndarray) -> bytes | str:
    """The logits' bits, or what the library says instead."""
    try:
        return session.run(images).tobytes()
    except NativeError as error:
        return str(error)


@pytest.fixture(name="outcome", scope="session")
def outcome_fixture():
    return outcome


@pytest.fixture(scope="session")
def lenet() -> Case:
    return Make.lenet_5()


@pytest.fixture(scope="session")
def in_python() -> Callable[..., str]:
    """What a new process prints, that runs this code in this environment."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
            env=os.environ | environment,
        )
        return done.stdout.strip()

    return run
