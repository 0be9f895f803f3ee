"""What every engine must do. A new engine joins by its line in ENGINES and inherits all cases."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sigdca.codec.graph import OP_KINDS
from sigdca.engines import ENGINES, NotFiniteError, compare, open_engine
from sigdca.engines.tensorrt import find_trtexec
from sigdca.errors import EngineError, FormatError, JobError
from sigdca.models import build, trace
from sigdca.training import SHARE_UNIT

TOLERANCE = 1e-4  # relative to the largest logit: float32 rounding, nothing else


def assert_agree(got: np.ndarray, expected: np.ndarray) -> None:
    comparison = compare(got, expected)
    assert comparison.max_abs_difference <= TOLERANCE * max(comparison.scale, 1e-6)


class EveryBlock(nn.Module):
    """All operators that a graph can have, joined as a network that skips and branches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Conv2d(8, 6, 3, padding=2, dilation=2)
        self.last = nn.Linear(10, 5)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)
            self.norm.weight.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = x + functional.relu6(self.depthwise(x))
        x = functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = functional.local_response_norm(x, 3, 0.5, 0.75, 2.0)
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = functional.avg_pool2d(x, 2, 2, 1, ceil_mode=True)
        x = functional.adaptive_avg_pool2d(x, 1)
        return functional.softmax(self.last(torch.flatten(x, 1)), dim=1)


MODULES = {
    "every operator": (EveryBlock, (3, 17, 14)),
    "lenet-300-100": (lambda: build("lenet-300-100"), (1, 28, 28)),
    "lenet-5": (lambda: build("lenet-5"), (1, 28, 28)),
    "alexnet": (lambda: build("alexnet", num_classes=10), (3, 224, 224)),
    "squeezenet-1.0": (lambda: build("squeezenet-1.0", num_classes=10), (3, 227, 227)),
    "mobilenet-v2-cifar": (lambda: build("mobilenet-v2-cifar"), (3, 32, 32)),
}


HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(
    not HAS_OPENVINO, reason="OpenVINO is not installed: pip install -c constraints.txt openvino"
)


def engines() -> list[str]:
    """Those that round as float32 does, and are here: TensorRT is on its own devices alone."""
    names = [name for name in ENGINES if name not in ("tensorrt-fp16", "openvino-int8")]
    try:
        find_trtexec()
    except EngineError:
        names.remove("tensorrt")
    return names


def marked() -> list[object]:
    """The same for pytest: what is not installed is skipped, and says so."""
    marks = {"openvino": needs_openvino}
    return [pytest.param(name, marks=marks.get(name, ())) for name in engines()]


@pytest.mark.parametrize("engine", marked())
class TestEveryEngine:
    @pytest.mark.parametrize("module", MODULES)
    def test_computes_what_the_torch_module_computes(self, engine, module):
        torch.manual_seed(0)
        factory, shape = MODULES[module]
        model = factory().eval()
        images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images).float() / 256).numpy()
        graph = trace(model, shape, 1 / 256)
        if module == "every operator":
            assert {op.kind for op in graph.ops} == set(OP_KINDS)
        state = {name: value.numpy() for name, value in model.state_dict().items()}
        got = open_engine(engine, graph, state).logits(images)
        assert_agree(got, expected)

    def test_agrees_with_the_other_engines(self, engine, sample):
        expected = open_engine("torch", sample.graph, sample.tensors).logits(sample.images)
        opened = open_engine(engine, sample.graph, sample.tensors)
        assert opened.name == engine
        assert SHARE_UNIT % opened.batch_size == 0, "shares of a TEST are whole batches"
        assert_agree(opened.logits(sample.images), expected)

    def test_gives_float32_logits_and_the_same_bits_again(self, engine, sample):
        first = open_engine(engine, sample.graph, sample.tensors).logits(sample.images)
        again = open_engine(engine, sample.graph, sample.tensors).logits(sample.images)
        assert first.dtype == np.float32
        assert first.ndim == 2
        assert len(first) == len(sample.images)
        assert first.tobytes() == again.tobytes()

    @pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
    def test_cuts_at_its_batch_size_change_no_bit(self, engine, make, name):
        sample = make.networks[name]
        opened = open_engine(engine, sample.graph, sample.tensors)
        whole = opened.logits(sample.images)
        cuts = range(0, len(sample.images), opened.batch_size)
        parts = [opened.logits(sample.images[at : at + opened.batch_size]) for at in cuts]
        assert len(parts) > 1
        assert np.concatenate(parts).tobytes() == whole.tobytes()

    def test_leaves_images_and_weights_as_they_are(self, engine, make):
        sample = make.networks["lenet-5"]
        images = sample.images.copy()
        images.setflags(write=False)
        tensors = {name: value.copy() for name, value in sample.tensors.items()}
        for value in tensors.values():
            value.setflags(write=False)
        got = open_engine(engine, sample.graph, tensors).logits(images)
        expected = open_engine(engine, sample.graph, sample.tensors).logits(sample.images)
        assert got.tobytes() == expected.tobytes()

    def test_takes_images_that_are_a_view(self, engine, make):
        sample = make.networks["lenet-5"]
        opened = open_engine(engine, sample.graph, sample.tensors)
        every_other = opened.logits(sample.images[::2])
        assert every_other.tobytes() == opened.logits(sample.images[::2].copy()).tobytes()

    @pytest.mark.parametrize(
        ("images", "got"),
        [
            (np.zeros((2, 3, 9, 7), np.float32), "float32 [2, 3, 9, 7]"),
            (np.zeros((2, 3, 9, 8), np.uint8), "uint8 [2, 3, 9, 8]"),
            (np.zeros((3, 9, 7), np.uint8), "uint8 [3, 9, 7]"),
        ],
    )
    def test_refuses_other_images(self, engine, make, images, got):
        sample = make.networks["conv"]
        opened = open_engine(engine, sample.graph, sample.tensors)
        with pytest.raises(EngineError) as caught:
            opened.logits(images)
        assert str(caught.value) == f"{engine}: images must be uint8 [n, 3, 9, 7], got {got}"

    def test_refuses_no_images(self, engine, make):
        sample = make.networks["conv"]
        opened = open_engine(engine, sample.graph, sample.tensors)
        with pytest.raises(EngineError, match=f"{engine}: "):
            opened.logits(sample.images[:0])

    def test_refuses_weights_that_do_not_fit(self, engine, make):
        sample = make.networks["conv"]
        with pytest.raises(EngineError, match=r"tensor 'c\.bias' is missing"):
            open_engine(engine, sample.graph, {"c.weight": sample.tensors["c.weight"]})
        wide = dict(sample.tensors) | {"c.bias": np.zeros(6, np.float32)}
        with pytest.raises(
            EngineError, match=r"'c\.bias' must be float32 \[5\], got float32 \[6\]"
        ):
            open_engine(engine, sample.graph, wide)
        double = dict(sample.tensors) | {"c.bias": np.zeros(5)}
        with pytest.raises(EngineError, match=r"must be float32 \[5\], got float64 \[5\]"):
            open_engine(engine, sample.graph, double)

    def test_refuses_a_network_that_ends_in_an_image(self, engine, make):
        sample = make.network(make.conv("c", 0, 4))
        with pytest.raises(EngineError, match=r"must be one vector, got \(4, 7, 5\)"):
            open_engine(engine, sample.graph, sample.tensors)

    def test_refuses_a_broken_graph(self, engine, make):
        sample = make.networks["conv"]
        graph = type(sample.graph)(sample.graph.input_shape, 1.0, ())
        with pytest.raises(EngineError):
            open_engine(engine, graph, sample.tensors)

    def test_does_not_pass_off_what_is_not_finite(self, engine, make):
        sample = make.networks["raw pixels"]
        weight = sample.tensors["f.weight"].copy()
        weight[2, :] = np.float32(3e38)
        opened = open_engine(engine, sample.graph, dict(sample.tensors) | {"f.weight": weight})
        with pytest.raises(NotFiniteError, match="logits of image 0 are not finite"):
            opened.logits(sample.images)

    def test_says_how_to_install_what_is_missing(self, engine, make, monkeypatch):
        if engine == "native":
            pytest.skip("is a part of sigdca itself")
        sample = make.networks["conv"]
        monkeypatch.delitem(sys.modules, f"sigdca.engines.{engine}", raising=False)
        monkeypatch.setitem(sys.modules, engine, None)
        with pytest.raises(EngineError) as caught:
            open_engine(engine, sample.graph, sample.tensors)
        start = f"engine '{engine}': {engine} is not installed; pip install 'sigdca["
        assert str(caught.value).startswith(start)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_computes_on_any_number_of_threads(self, engine, make, threads):
        sample = make.networks["lenet-5"]
        before = torch.get_num_threads()
        got = open_engine(engine, sample.graph, sample.tensors, threads).logits(sample.images)
        assert_agree(got, open_engine(engine, sample.graph, sample.tensors).logits(sample.images))
        assert torch.get_num_threads() == before

    def test_refuses_no_threads(self, engine, make):
        sample = make.networks["conv"]
        with pytest.raises(JobError, match="threads must be at least 1, got 0"):
            open_engine(engine, sample.graph, sample.tensors, threads=0)


pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
paddings = st.tuples(st.integers(0, 3), st.integers(0, 3))
sides = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["max_pool", "avg_pool"]),
    side=sides,
    kernel=pairs,
    stride=pairs,
    padding=paddings,
    ceil=st.integers(0, 1),
    include_pad=st.integers(0, 1),
)
def test_any_pooling_window_means_the_same_everywhere(
    make, kind, side, kernel, stride, padding, ceil, include_pad
):
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
    if kind == "avg_pool":
        attrs["include_pad"] = include_pad
    _agree_on(make, side, make.pool(kind, 0, **attrs))


@settings(max_examples=60, deadline=None)
@given(
    side=sides,
    kernel=pairs,
    stride=pairs,
    padding=paddings,
    dilation=pairs,
    groups=st.sampled_from([1, 2, 4]),
)
def test_any_convolution_means_the_same_everywhere(
    make, side, kernel, stride, padding, dilation, groups
):
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    _agree_on(make, side, make.conv("c", 0, 4, kernel=kernel, **attrs))


def _agree_on(make, side, op) -> None:
    try:
        sample = make.network(op, make.plain("flatten", 1), shape=(4, *side), num_images=2)
    except FormatError:
        assume(False)
    expected = open_engine("torch", sample.graph, sample.tensors).logits(sample.images)
    for engine in engines():
        if engine == "openvino" and not HAS_OPENVINO:
            continue
        assert_agree(
            open_engine(engine, sample.graph, sample.tensors).logits(sample.images), expected
        )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onnx-runtime", "did you mean 'onnxruntime'?"),
        (
            "abacus",
            "known engines are native, onnxruntime, openvino, openvino-int8, tensorrt, "
            "tensorrt-fp16, torch",
        ),
    ],
)
def test_unknown_engine_names_the_known_ones(make, name, hint):
    sample = make.networks["conv"]
    with pytest.raises(JobError) as caught:
        open_engine(name, sample.graph, sample.tensors)
    assert str(caught.value) == f"engine: unknown engine '{name}'; {hint}"


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, sigdca.engines\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
