"""The ONNX file itself: its interface, its bytes, and what it cannot hold."""

import subprocess
import sys

import numpy as np
import onnx
import pytest

from sigdca.codec import Graph
from sigdca.engines import to_onnx
from sigdca.errors import EngineError


def test_interface_is_the_one_that_targets_expect(sample):
    model = onnx.load_from_string(to_onnx(sample.graph, sample.tensors))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 8
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 13)]
    (pixels,), (logits,) = model.graph.input, model.graph.output
    sizes = [axis.dim_value or axis.dim_param for axis in pixels.type.tensor_type.shape.dim]
    assert (pixels.name, sizes) == ("pixels", ["N", *sample.graph.input_shape])
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert logits.name == "logits"
    assert logits.type.tensor_type.shape.dim[0].dim_param == "N"


def test_weights_bear_the_graphs_names_and_bits(sample):
    model = onnx.load_from_string(to_onnx(sample.graph, sample.tensors))
    found = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    for name, value in sample.tensors.items():
        assert found[name].tobytes() == value.tobytes()
        assert found[name].shape == value.shape


def test_pixels_are_scaled_first_and_only_where_needed(make):
    def first(name):
        sample = make.networks[name]
        return onnx.load_from_string(to_onnx(sample.graph, sample.tensors)).graph.node[0].op_type

    assert first("conv") == "Mul"
    assert first("raw pixels") == "Flatten"


def test_same_network_gives_the_same_bytes(make):
    sample = make.networks["batch_norm"]
    backwards = dict(reversed(sample.tensors.items()))
    assert to_onnx(sample.graph, sample.tensors) == to_onnx(sample.graph, backwards)


def test_bytes_do_not_depend_on_the_process():
    code = (
        "import hashlib, numpy as np\n"
        "from sigdca.codec import Graph, Op\n"
        "from sigdca.engines import to_onnx\n"
        "attrs = {'size': 3, 'alpha': 0.1, 'beta': 0.7, 'k': 1.0}\n"
        "ops = (Op('lrn', '', (0,), attrs), Op('flatten', '', (1,), {}),\n"
        "       Op('fc', 'f', (2,), {'out_features': 2, 'bias': 0}))\n"
        "content = to_onnx(Graph((3, 4, 4), 0.5, ops), {'f.weight': np.ones((2, 48), 'f4')})\n"
        "print(hashlib.sha256(content).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_other_entries_of_a_state_dict_are_left_out(make):
    sample = make.networks["batch_norm"]
    more = dict(sample.tensors) | {"bn.num_batches_tracked": np.array(7)}
    assert to_onnx(sample.graph, more) == to_onnx(sample.graph, sample.tensors)


def test_more_than_2_gb_of_weights_is_refused_before_any_is_copied(make):
    graph = Graph((1, 250, 250), 1.0, (make.plain("flatten", 0), make.fc("f", 1, 9000, bias=0)))
    weight = np.broadcast_to(np.float32(0), (9000, 62500))  # 2.25 GB that take no memory
    with pytest.raises(EngineError) as caught:
        to_onnx(graph, {"f.weight": weight})
    assert str(caught.value) == (
        "onnx: 2250000000 bytes of weights; a file holds at most 2000000000"
    )


def test_even_response_normalisation_is_refused(make):
    lrn = make.plain("lrn", 0, size=4, alpha=0.1, beta=0.75, k=1.0)
    sample = make.network(lrn, make.plain("flatten", 1))
    with pytest.raises(EngineError, match="onnx: lrn over 4 channels; the number must be odd"):
        to_onnx(sample.graph, sample.tensors)


def test_missing_onnx_says_how_to_install_it(make, monkeypatch):
    sample = make.networks["conv"]
    monkeypatch.delitem(sys.modules, "sigdca.engines.onnx_export", raising=False)
    monkeypatch.delattr("sigdca.engines.onnx_export", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EngineError) as caught:
        to_onnx(sample.graph, sample.tensors)
    assert str(caught.value) == (
        "export to ONNX: onnx is not installed; pip install 'sigdca[edge]'"
    )
