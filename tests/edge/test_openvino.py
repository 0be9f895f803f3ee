"""OpenVINO on the emulated Atom: the verdict sees that int8 saturates there and not on a server.

On x86 without VNNI two products of 8 bits are added in 16 bits, which saturate. `overflow_fix`
keeps weights within 7 bits, and both give the same.
"""

from pathlib import Path

import numpy as np
import pytest

from sigdca.edge.legs import run_test_leg
from sigdca.engines import logits_sha256, open_engine, to_int8, to_onnx
from sigdca.targets import load_target
from tests.conftest import emulated

pytest.importorskip(
    "openvino",
    reason="OpenVINO is not installed: pip install -c constraints.txt openvino nncf",
)
pytest.importorskip("nncf", reason="NNCF is not installed: pip install -c constraints.txt nncf")

NUM_IMAGES = 12


def has_vnni() -> bool:
    try:
        return "avx512_vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@pytest.fixture(scope="module")
def atom():
    target = load_target("atom-x5-e3940")
    return emulated(target.model_copy(update={"engine": "openvino-int8"}))


@pytest.fixture(scope="module")
def network():
    """LeNet-5 as it is before training, and noise."""
    import torch

    from sigdca.models import build, trace

    torch.manual_seed(0)
    model = build("lenet-5").eval()
    graph = trace(model, (1, 28, 28), 1 / 256)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 28, 28), dtype=np.uint8)
    return to_onnx(graph, tensors), images


def leg(atom, model, images):
    reference = open_engine("openvino-int8", None, {}, container=model).logits(images)
    labels = reference.argmax(axis=1)
    result = run_test_leg(atom, model, images, labels, reference_logits=reference, emulated=True)
    assert result.reference_logits_sha256 == logits_sha256(reference)
    assert result.engine.startswith("openvino ")
    return result


@pytest.mark.slow
@pytest.mark.skipif(not has_vnni(), reason="this server has no VNNI: int8 saturates here too")
def test_int8_that_saturates_on_the_atom_is_not_proven(atom, network):
    onnx_model, images = network
    tested = images[:NUM_IMAGES]
    saturating = leg(atom, to_int8(onnx_model, images, overflow_fix=False), tested)
    assert saturating.verdict == "device-required"
    assert saturating.reason.startswith("beyond tolerance: logits differ from the server's by")
    assert saturating.evidence == "isa"
    assert saturating.logits_sha256 != saturating.reference_logits_sha256
    assert saturating.max_abs_difference > 0
    assert saturating.argmax_flips is not None
    mended = leg(atom, to_int8(onnx_model, images), tested)
    assert mended.verdict in ("exact", "tolerance"), mended.reason
    assert mended.argmax_flips == 0
