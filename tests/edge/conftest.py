"""A small network as ONNX, images, and the Atom that QEMU emulates."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sigdca.engines import Logits
from sigdca.engines.onnxruntime import OnnxRuntimeEngine
from sigdca.errors import TargetError
from sigdca.targets import Target, find_emulator, load_target

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
    target = load_target("atom-x5-e3940")
    try:
        find_emulator(target)
    except TargetError as error:
        pytest.fail(f"these tests need the emulator: {error}", pytrace=False)
    return target


@pytest.fixture(scope="session")
def case() -> Case:
    rng = np.random.default_rng(0)
    model = two_layers(rng)
    images = rng.integers(0, 256, (NUM_IMAGES, 1, 28, 28), dtype=np.uint8)
    reference = OnnxRuntimeEngine(model).logits(images)
    labels = reference.argmax(axis=1).astype(np.uint8)
    labels[:5] = (labels[:5] + 1) % 10  # five are wrong: 90 % accuracy, if it runs as here
    return Case(model, images, labels, reference)


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
