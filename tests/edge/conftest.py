"""A small network as ONNX and as a container, images, and the targets that QEMU emulates."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sigdca.codec import Graph, Op, encode_container
from sigdca.codec.graph import expected_tensors
from sigdca.engines import Logits, open_engine
from sigdca.engines.onnxruntime import OnnxRuntimeEngine
from sigdca.targets import Target, load_target
from tests.conftest import emulated

NUM_IMAGES = 50


@dataclass(frozen=True)
class Case:
    """A model, its images, and what the server makes of them."""

    model: bytes
    images: np.ndarray
    labels: np.ndarray
    reference: Logits


@pytest.fixture(scope="session")
def atom() -> Target:
    return emulated("atom-x5-e3940")


@pytest.fixture(scope="session")
def tx2_cpu() -> Target:
    return emulated("jetson-tx2-cpu")


@pytest.fixture(scope="session")
def onnx_atom() -> Target:
    """An Atom whose models run in ONNX Runtime, as a user's own target file may say."""
    target = load_target("atom-x5-e3940")
    return emulated(target.model_copy(update={"engine": "onnxruntime"}))


@pytest.fixture(scope="session")
def case() -> Case:
    """A container with convolutions and sparse shared weights, for the native engine."""
    rng = np.random.default_rng(0)
    graph, tensors = small_network(rng)
    images = rng.integers(0, 256, (NUM_IMAGES, *graph.input_shape), dtype=np.uint8)
    reference = open_engine("native", graph, tensors).logits(images)
    return Case(encode_container(graph, tensors), images, labels_of(reference), reference)


@pytest.fixture(scope="session")
def onnx_case() -> Case:
    """An ONNX file, for ONNX Runtime."""
    rng = np.random.default_rng(0)
    model = two_layers(rng)
    images = rng.integers(0, 256, (NUM_IMAGES, 1, 28, 28), dtype=np.uint8)
    reference = OnnxRuntimeEngine(model).logits(images)
    return Case(model, images, labels_of(reference), reference)


def labels_of(reference: Logits) -> np.ndarray:
    """Five are wrong: 90 % accuracy, if it runs as here."""
    labels = reference.argmax(axis=1).astype(np.uint8)
    labels[:5] = (labels[:5] + 1) % 10
    return labels


def small_network(rng: np.random.Generator) -> tuple[Graph, dict[str, np.ndarray]]:
    """Operators whose rounding a compiler or a math library could change, sparse and shared."""
    square = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0}
    window = {"kernel": (5, 5), "stride": (1, 1), "padding": (2, 2), "dilation": (1, 1)}
    graph = Graph(
        (1, 28, 28),
        1 / 256,
        (
            Op("conv", "c1", (0,), {"out_channels": 6, **window, "groups": 1, "bias": 1}),
            Op("relu", "", (1,)),
            Op("lrn", "", (2,), {"size": 5, "alpha": 1e-2, "beta": 0.75, "k": 1.0}),
            Op("max_pool", "", (3,), square),
            Op("avg_pool", "", (4,), square | {"include_pad": 1}),
            Op("flatten", "", (5,)),
            Op("fc", "f1", (6,), {"out_features": 40, "bias": 1}),
            Op("relu", "", (7,)),
            Op("fc", "f2", (8,), {"out_features": 10, "bias": 1}),
            Op("softmax", "", (9,)),
        ),
    )
    tensors = {}
    for name, shape in expected_tensors(graph).items():
        value = rng.standard_normal(shape).astype(np.float32)
        if name.endswith(".weight"):
            codes = rng.integers(0, 8, shape)
            value = rng.standard_normal(8).astype(np.float32)[codes] * np.float32(0.2)
            value[rng.random(shape) < 0.6] = 0
        tensors[name] = value
    return graph, tensors


def two_layers(rng: np.random.Generator) -> bytes:
    weights = {
        "scale": np.array(1 / 256, np.float32),
        "w1": rng.standard_normal((300, 784)).astype(np.float32) / 28,
        "b1": rng.standard_normal(300).astype(np.float32),
        "w2": rng.standard_normal((10, 300)).astype(np.float32) / 17,
        "b2": rng.standard_normal(10).astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["pixels", "scale"], ["x"]),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "two-layers",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
