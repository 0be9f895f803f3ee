"""Every instruction set and kernel gives the reference's bits (exact) or lies close to torch."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sigdca.codec import Op, decode_container
from sigdca.engines import compare
from sigdca.engines.torch import TorchEngine
from sigdca.errors import EngineError, FormatError
from sigdca.native import PROFILES, Model, NativeError, Session, isas

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "v1").glob("*.dca"))
BITS = "95c16ecd8b8adda2d87f970bdf8313decb7386e1c016af5903fd541fdbdd4f47"
INFINITE = {"raw-all-operators"}  # its logits: a variance is negative
ISAS = [isa for isa in isas() if isa != "reference"]
TOLERANCE = {"fast": 1e-4, "int8": 5e-2}  # of the largest logit

sides = st.tuples(st.integers(1, 40), st.integers(1, 70))
pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))
steps = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
densities = st.sampled_from([0.0, 0.05, 0.3, 1.0])
centroids = st.sampled_from([0, 1, 5, 300])


def assert_same_everywhere(make, case, n=2, forced=()):
    """In the exact profile, on each instruction set and with each forced kernel."""
    images = case.images(n)
    expected = Session(case.model, isa="reference").run(images).tobytes()
    for isa in ISAS:
        assert Session(case.model, isa=isa).run(images).tobytes() == expected, isa
        for code in forced:
            for kernel in make.kernels(isa, code):
                session = make.ForcedSession(case.model, kernel, isa=isa, max_batch=n)
                got = session.run(images).tobytes()
                assert got == expected, (isa, kernel, session.layers())


def test_the_best_comes_first_and_the_reference_last():
    order = ["amx", "avx512", "avx2", "sse4.2", "neon", "reference"]
    assert [*isas()] == sorted(isas(), key=order.index)
    assert isas()[-1] == "reference"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_golden_containers_have_the_references_bits(path, isa, outcome):
    model = Model(path)
    shape = (9, *model.info.input_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = outcome(Session(model, isa="reference"), images)
    assert isinstance(expected, str) == (path.stem in INFINITE)
    for threads, max_batch in [(1, 1), (1, 4), (2, 9), (3, 2)]:
        session = Session(model, isa=isa, threads=threads, max_batch=max_batch)
        assert outcome(session, images) == expected


def test_the_bits_of_all_operators_never_change():
    (path,) = (path for path in GOLDEN if path.stem == "all-operators-finite")
    pixels = np.arange(5 * 3 * 9 * 8, dtype=np.uint32) * np.uint32(2654435761) >> 24
    images = pixels.astype(np.uint8).reshape(5, 3, 9, 8)
    logits = Session(Model(path), isa="reference").run(images)
    assert hashlib.sha256(logits.astype("<f4").tobytes()).hexdigest() == BITS


@pytest.mark.parametrize("density", [0.05, 1.0])
@pytest.mark.parametrize("isa", ISAS)
def test_no_cut_and_no_number_of_threads_changes_a_bit(make, isa, density):
    case = make.lenet_5(density)
    images = case.images(300)
    expected = Session(case.model, isa="reference").run(images).tobytes()
    for threads, max_batch in [(1, 1), (1, 64), (1, 256), (2, 1), (2, 7), (3, 256)]:
        session = Session(case.model, isa=isa, threads=threads, max_batch=max_batch)
        assert session.run(images).tobytes() == expected, (threads, max_batch)
        assert session.run(images[:5]).tobytes() == expected[: 5 * 10 * 4]


@settings(max_examples=60, deadline=None)
@given(
    side=sides,
    kernel=pairs,
    stride=steps,
    padding=paddings,
    dilation=steps,
    groups=st.sampled_from([1, 1, 2, 4, 8]),
    channels=st.sampled_from([8, 16]),
    out=st.sampled_from([8, 24, 40]),
    bias=st.integers(0, 1),
    tail=st.sampled_from(["", "relu", "relu6", "norm", "norm relu"]),
    density=densities,
    centroids=centroids,
)
def test_any_convolution(
    make, side, kernel, stride, padding, dilation, groups, channels, out, bias, tail, density,
    centroids,
):  # fmt: skip
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    ops = [
        make.conv("first", 0, channels, kernel=(1, 1)),
        make.conv("c", 1, out, kernel=kernel, bias=bias, **attrs),
    ]
    if "norm" in tail:
        ops.append(Op("batch_norm", "n", (2,), {"eps": 1e-5}))
    if "relu" in tail:
        ops.append(make.plain(tail.split()[-1], len(ops)))
    try:
        case = make.case(*ops, shape=(2, *side), density=density, centroids=centroids)
    except FormatError:
        assume(False)
    assert_same_everywhere(make, case, 1, [make.conv_code])


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 200),
    hidden=st.integers(1, 100),
    out=st.integers(1, 40),
    bias=st.integers(0, 1),
    tail=st.sampled_from(["relu", "relu6", "softmax"]),
    n=st.sampled_from([1, 2, 3, 8, 17, 33]),
    density=densities,
    centroids=centroids,
)
def test_any_fully_connected_layers(make, inputs, hidden, out, bias, tail, n, density, centroids):
    case = make.case(
        make.plain("flatten", 0),
        make.fc("f", 1, hidden, bias),
        make.plain("relu", 2),
        make.fc("g", 3, out, bias),
        make.plain(tail, 4),
        shape=(1, 1, inputs),
        density=density,
        centroids=centroids,
    )
    assert_same_everywhere(make, case, n, [make.fc_code])


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["max_pool", "avg_pool"]),
    side=sides,
    kernel=pairs,
    stride=steps,
    padding=paddings,
    ceil=st.integers(0, 1),
    include_pad=st.integers(0, 1),
)
def test_any_pooling(make, kind, side, kernel, stride, padding, ceil, include_pad):
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
    pool = (
        make.max_pool(1, **attrs)
        if kind == "max_pool"
        else make.avg_pool(1, include_pad=include_pad, **attrs)
    )
    try:
        case = make.case(make.conv("c", 0, 5, kernel=(1, 1)), pool, shape=(2, *side))
    except FormatError:
        assume(False)
    assert_same_everywhere(make, case, 1)


@pytest.mark.parametrize("side", [(4, 4), (8, 8), (16, 16), (32, 32), (34, 66), (9, 17), (2, 5)])
def test_pooling_of_2x2_at_every_width_of_a_vector(make, side):
    case = make.case(make.conv("c", 0, 5, kernel=(1, 1)), make.max_pool(1), shape=(2, *side))
    assert_same_everywhere(make, case)


def test_images_wider_than_a_kernels_buffer(make):
    pools = [
        make.max_pool(1, kernel=(3, 3), padding=(1, 1)),
        make.avg_pool(1, kernel=(3, 3), padding=(1, 1)),
        make.plain("concat", 2, 3),
    ]
    case = make.case(make.conv("c", 0, 2, kernel=(1, 1)), *pools, shape=(1, 4, 5000))
    assert_same_everywhere(make, case)


@settings(max_examples=40, deadline=None)
@given(
    side=sides,
    channels=st.integers(1, 20),
    size=st.integers(1, 9),
    alpha=st.sampled_from([0.0, 1e-4, 0.7]),
    beta=st.sampled_from([0.0, 0.5, 0.75, 1.0, 2.3]),
    k=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_local_response_norm(make, side, channels, size, alpha, beta, k):
    lrn = make.plain("lrn", 1, size=size, alpha=alpha, beta=beta, k=k)
    conv = make.conv("c", 0, channels, kernel=(1, 1))
    assert_same_everywhere(make, make.case(conv, lrn, shape=(2, *side)), 1)


@pytest.fixture
def not_numbers(make):
    """A network whose first values are NaN where a pixel is 0, and images with one 0 each."""

    def made(*ops, shape, n=12):
        lrn = make.plain("lrn", 0, size=1, alpha=1.0, beta=0.75, k=0.0)
        case = make.case(lrn, *ops, shape=shape)
        images = np.maximum(case.images(n), 1)
        places = np.random.default_rng(1).integers(0, np.prod(shape), n)
        images.reshape(n, -1)[np.arange(n), places] = 0
        return case, images

    return made


def logits_not_finite(session, images):
    logits = np.empty((len(images), session.model.info.num_classes), np.float32)
    with pytest.raises(NativeError, match="are not finite"):
        session.bind(images, logits)()
    return logits


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 1, 1), (3, 2, 1)])
@pytest.mark.parametrize(
    "side", [(4, 4), (8, 8), (16, 16), (32, 32), (12, 66), (9, 17), (4, 5000)]
)
def test_a_maximum_with_a_nan_is_one(make, not_numbers, side, window, isa):
    size, step, border = window
    kernel, stride, padding = (size, size), (step, step), (border, border)
    pool = make.max_pool(1, kernel=kernel, stride=stride, padding=padding)
    case, images = not_numbers(pool, shape=(2, *side))
    got = logits_not_finite(Session(case.model, isa=isa), images)
    around = ((0, 0), (0, 0), padding, padding)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images == 0, around), kernel, (2, 3))
    expected = windows[:, :, ::step, ::step].any(axis=(-2, -1))
    assert (np.isnan(got) == expected.reshape(got.shape)).all()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("inputs", [37, 784])
def test_a_nan_is_not_lost_in_a_fully_connected_layer(make, not_numbers, inputs, isa, profile):
    ops = [make.plain("flatten", 1), make.fc("f", 2, 40)]
    case, images = not_numbers(*ops, shape=(1, 1, inputs))
    for kernel in make.kernels(isa, make.fc_code):
        session = make.ForcedSession(case.model, kernel, isa=isa, profile=profile, max_batch=16)
        assert np.isnan(logits_not_finite(session, images)).all(), session.layers()


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_every_operator_joined(make, density):
    assert_same_everywhere(make, make.every_operator(density), 3, [make.conv_code, make.fc_code])


@pytest.mark.parametrize("profile", ["fast", "int8"])
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("network", ["lenet_5", "every_operator"])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_other_profiles_lie_close_to_torch(make, network, density, isa, profile):
    case = getattr(make, network)(density)
    images = case.images(20)
    expected = TorchEngine(case.graph, case.tensors).logits(images)
    for threads, max_batch in [(1, 1), (2, 16)]:
        session = Session(
            case.model, isa=isa, profile=profile, threads=threads, max_batch=max_batch
        )
        difference = compare(session.run(images), expected)
        assert difference.max_abs_difference <= TOLERANCE[profile] * difference.scale


@settings(max_examples=40, deadline=None)
@given(
    side=st.tuples(st.integers(5, 30), st.integers(5, 30)),
    kernel=pairs,
    stride=steps,
    padding=paddings,
    groups=st.sampled_from([1, 1, 2, 8]),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    profile=st.sampled_from(["fast", "int8"]),
)
def test_any_kernel_in_other_profiles(
    make, side, kernel, stride, padding, groups, density, profile
):
    ops = [
        make.conv("a", 0, 8, kernel=(1, 1)),
        make.plain("relu", 1),
        make.conv("b", 2, 24, kernel=kernel, stride=stride, padding=padding, groups=groups),
        make.plain("flatten", 3),
        make.fc("f", 4, 33),
    ]
    try:
        case = make.case(*ops, shape=(2, *side), density=density, centroids=40)
    except FormatError:
        assume(False)
    images = case.images(5)
    expected = TorchEngine(case.graph, case.tensors).logits(images)
    for isa in ISAS:
        for code in (make.conv_code, make.fc_code):
            for kernel_name in make.kernels(isa, code):
                session = make.ForcedSession(
                    case.model, kernel_name, isa=isa, profile=profile, max_batch=4
                )
                difference = compare(session.run(images), expected)
                bound = TOLERANCE[profile] * max(difference.scale, 1e-6)
                assert difference.max_abs_difference <= bound, (isa, session.layers())


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_golden_containers_agree_with_torch(path):
    container = decode_container(path.read_bytes())
    try:
        engine = TorchEngine(container.graph, container.tensors)
    except EngineError:
        pytest.skip("the network ends in an image")
    shape = (3, *container.graph.input_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    try:
        expected = engine.logits(images)
    except EngineError:
        pytest.skip("its random variances are negative")
    difference = compare(Session(Model(path), profile="fast").run(images), expected)
    assert difference.max_abs_difference <= 1e-4 * max(difference.scale, 1e-6)
