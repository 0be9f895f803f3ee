"""OpenVINO's own: its two files as one, and models that it must refuse."""

import numpy as np
import pytest

from sigdca.engines import open_engine
from sigdca.errors import EngineError

pytest.importorskip(
    "openvino", reason="OpenVINO is not installed: pip install -c constraints.txt openvino"
)
from sigdca.engines import to_onnx, to_openvino
from sigdca.engines.openvino import OpenVinoEngine, is_packed, pack, unpack


def test_two_files_as_one_and_back():
    packed = pack(b"<net/>", b"\1\2")
    assert is_packed(packed)
    assert packed == pack(b"<net/>", b"\1\2")
    assert unpack(packed) == (b"<net/>", b"\1\2")


@pytest.mark.parametrize("cut", [4, 40, -3])
def test_a_damaged_pack_is_refused(cut):
    with pytest.raises(EngineError, match=r"^openvino: "):
        OpenVinoEngine(pack(b"<net/>", b"\1\2")[:cut])


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"^openvino: model not loaded: "):
        OpenVinoEngine(b"no model")
    with pytest.raises(EngineError, match=r"none: cannot be read: No such file"):
        OpenVinoEngine(str(tmp_path / "none"))


def test_a_packed_model_gives_the_bits_of_the_onnx_file(make):
    sample = make.networks["lenet-5"]
    onnx_model = to_onnx(sample.graph, sample.tensors)
    direct, packed = (OpenVinoEngine(one) for one in (onnx_model, to_openvino(onnx_model)))
    images = sample.images[:5]
    assert np.array_equal(direct.logits(images), packed.logits(images))


def test_int8_runs_only_what_was_made_int8(make):
    sample = make.networks["conv"]
    with pytest.raises(EngineError, match="sigdca export --to openvino --int8 makes it"):
        open_engine("openvino-int8", sample.graph, sample.tensors)
    with pytest.raises(EngineError, match="openvino-int8: runs only what was made int8"):
        open_engine("openvino-int8", sample.graph, {}, container=b"\x89DCA")
