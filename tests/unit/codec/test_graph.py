import pickle

import pytest

from sigdca.codec import OP_KINDS, Graph, Op, expected_tensors, infer_shapes
from sigdca.codec.errors import LimitError, OperatorError, ShapeError

CONV = {
    "out_channels": 8,
    "kernel": (3, 3),
    "stride": (1, 1),
    "padding": (1, 1),
    "dilation": (1, 1),
    "groups": 1,
    "bias": 1,
}
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0}
LRN = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}


def conv(**attrs):
    return Op("conv", "c", (0,), CONV | attrs)


def one(op, shape=(4, 8, 10)):
    return Graph(shape, 1.0, (op,))


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (conv(), (8, 8, 10)),
        (conv(kernel=(5, 1), padding=(0, 0)), (8, 4, 10)),
        (conv(kernel=(3, 3), stride=(2, 3), padding=(0, 1)), (8, 3, 4)),
        (conv(dilation=(3, 2), padding=(0, 0)), (8, 2, 6)),
        (conv(kernel=(10, 12)), (8, 1, 1)),
        (Op("max_pool", "", (0,), POOL | {"kernel": (3, 3)}), (4, 3, 4)),
        (Op("max_pool", "", (0,), POOL | {"kernel": (3, 3), "ceil": 1}), (4, 4, 5)),
        # Torch's rule: a last window that would begin in the padding behind is left out.
        (
            Op("max_pool", "", (0,), POOL | {"stride": (9, 9), "padding": (1, 1), "ceil": 1}),
            (4, 1, 2),
        ),
        (Op("avg_pool", "", (0,), POOL | {"include_pad": 1}), (4, 4, 5)),
        (Op("global_avg_pool", "", (0,)), (4, 1, 1)),
        (Op("relu", "", (0,)), (4, 8, 10)),
        (Op("relu6", "", (0,)), (4, 8, 10)),
        (Op("flatten", "", (0,)), (320,)),
        (Op("softmax", "", (0,)), (4, 8, 10)),
        (Op("lrn", "", (0,), LRN), (4, 8, 10)),
        (Op("batch_norm", "b", (0,), {"eps": 1e-5}), (4, 8, 10)),
        (Op("add", "", (0, 0)), (4, 8, 10)),
        (Op("concat", "", (0, 0, 0)), (12, 8, 10)),
    ],
)
def test_shape(op, shape):
    assert infer_shapes(one(op)) == [(4, 8, 10), shape]


def test_every_kind_has_its_own_code():
    assert sorted(kind.code for kind in OP_KINDS.values()) == list(range(1, 14))


def test_shapes_of_lenet_5():
    pool = Op("max_pool", "", (1,), POOL)
    five = CONV | {"kernel": (5, 5), "padding": (0, 0)}
    ops = (
        Op("conv", "conv1", (0,), five | {"out_channels": 20}),
        pool,
        Op("conv", "conv2", (2,), five | {"out_channels": 50}),
        Op("max_pool", "", (3,), POOL),
        Op("flatten", "", (4,)),
        Op("fc", "ip1", (5,), {"out_features": 500, "bias": 1}),
        Op("relu", "", (6,)),
        Op("fc", "ip2", (7,), {"out_features": 10, "bias": 0}),
    )
    graph = Graph((1, 28, 28), 1 / 256, ops)
    assert infer_shapes(graph)[5:] == [(800,), (500,), (500,), (10,)]
    assert list(expected_tensors(graph).items()) == [
        ("conv1.weight", (20, 1, 5, 5)),
        ("conv1.bias", (20,)),
        ("conv2.weight", (50, 20, 5, 5)),
        ("conv2.bias", (50,)),
        ("ip1.weight", (500, 800)),
        ("ip1.bias", (500,)),
        ("ip2.weight", (10, 500)),
    ]


def test_tensors_of_groups_and_batch_norm():
    ops = (
        conv(groups=4, bias=0, kernel=(1, 3)),
        Op("batch_norm", "b", (1,), {"eps": 0.0}),
    )
    assert expected_tensors(Graph((4, 8, 10), 1.0, ops)) == {
        "c.weight": (8, 1, 1, 3),
        "b.weight": (8,),
        "b.bias": (8,),
        "b.running_mean": (8,),
        "b.running_var": (8,),
    }


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Op("conv3d", "c", (0,), CONV), "operator 0: unknown kind 'conv3d'"),
        (Op("relu", "r", (0,)), r"operator 0 \(relu\): has no parameters, so its name must be ''"),
        (Op("conv", "", (0,), CONV), r"operator 0 \(conv\): must have a name, got ''"),
        (Op("conv", "ä" * 128, (0,), CONV), "name has 256 bytes, limit 255"),
        (Op("conv", "a\nb", (0,), CONV), r"name 'a\\nb' has a control character"),
        (Op("conv", "a\x9bb", (0,), CONV), "has a control character"),
        (Op("conv", "\ud800", (0,), CONV), "is not Unicode text"),
        (Op("relu", "", ()), r"must have 1\.\.1 inputs, got \(\)"),
        (Op("add", "", (0,)), r"must have 2\.\.2 inputs, got \(0,\)"),
        (Op("concat", "", (0,) * 257), r"must have 1\.\.256 inputs"),
        (Op("relu", "", (1,)), r"input must be a value in 0\.\.0, got 1"),
        (Op("relu", "", (-1,)), r"input must be a value in 0\.\.0, got -1"),
        (Op("relu", "", (False,)), r"input must be a value in 0\.\.0, got False"),
        (Op("relu", "", (0,), {"slope": 0.1}), r"attributes must be \[\], got \['slope'\]"),
        (Op("fc", "f", (0,), {"bias": 1}), r"must be \['out_features', 'bias'\], got \['bias'\]"),
        (conv(groups=0), r"layer 'c': groups must be a whole number in 1\.\.16777216, got 0"),
        (conv(bias=True), r"bias must be a whole number in 0\.\.1, got True"),
        (conv(kernel=3), r"kernel must be two whole numbers in 1\.\.4096, got 3"),
        (conv(kernel=(3, 3, 3)), "kernel must be two whole numbers"),
        (conv(stride=(1, 4097)), r"stride must be two .* in 1\.\.4096, got \(1, 4097\)"),
        (conv(padding=(0.0, 0.0)), "padding must be two whole numbers"),
        (Op("lrn", "", (0,), LRN | {"k": 1}), r"k must be a finite float in 0\.\.1000000, got 1"),
        (Op("lrn", "", (0,), LRN | {"beta": float("nan")}), "beta must be a finite float"),
        (Op("batch_norm", "b", (0,), {"eps": -1e-5}), r"eps must be .* in 0\.\.1, got -1e-05"),
    ],
)
def test_refuses_an_operator(op, message):
    with pytest.raises(OperatorError, match=message):
        infer_shapes(one(op))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (conv(kernel=(11, 3)), "layer 'c': window of 11 is larger than its padded input, 10"),
        (conv(dilation=(5, 1)), "window of 11 is larger than its padded input, 10"),
        (conv(groups=3), "3 groups must divide 4 input and 8 output channels"),
        (conv(groups=4, out_channels=6), "4 groups must divide 4 input and 6 output channels"),
        (
            Op("max_pool", "", (0,), POOL | {"padding": (0, 2)}),
            "padding 2 exceeds half of kernel 2",
        ),
        (Op("fc", "f", (0,), {"out_features": 1, "bias": 0}), r"must be flat, got \[4, 8, 10\]"),
    ],
)
def test_refuses_a_shape(op, message):
    with pytest.raises(ShapeError, match=message):
        infer_shapes(one(op))


@pytest.mark.parametrize(
    "op",
    [
        Op("conv", "c", (1,), CONV),
        Op("max_pool", "", (1,), POOL),
        Op("global_avg_pool", "", (1,)),
        Op("lrn", "", (1,), LRN),
        Op("batch_norm", "b", (1,), {"eps": 1e-5}),
    ],
)
def test_refuses_a_vector_for_an_image(op):
    graph = Graph((4, 8, 10), 1.0, (Op("flatten", "", (0,)), op))
    with pytest.raises(ShapeError, match=r"must be \[channels, height, width\], got \[320\]"):
        infer_shapes(graph)


@pytest.mark.parametrize("kind", ["add", "concat"])
def test_refuses_unlike_shapes(kind):
    ops = (Op("max_pool", "", (0,), POOL), Op(kind, "", (0, 1)))
    with pytest.raises(ShapeError, match=r"cannot \w+ \[4, 8, 10\] and \[4, 4, 5\]"):
        infer_shapes(Graph((4, 8, 10), 1.0, ops))


def test_joins_on_channels_only():
    ops = (conv(), Op("concat", "", (0, 1)))
    assert infer_shapes(Graph((4, 8, 10), 1.0, ops))[-1] == (12, 8, 10)


def test_refuses_two_layers_of_one_name():
    ops = (conv(out_channels=4), Op("conv", "c", (1,), CONV))
    with pytest.raises(OperatorError, match="layer 'c': there is another layer of this name"):
        infer_shapes(Graph((4, 8, 10), 1.0, ops))


@pytest.mark.parametrize("shape", [(8, 10), (0, 8, 10), (4, -8, 10), (4.0, 8, 10), [4, 8, 10]])
def test_refuses_an_input_shape(shape):
    with pytest.raises(ShapeError, match="graph: input shape must be 3 sizes of at least 1"):
        infer_shapes(Graph(shape, 1.0, (Op("relu", "", (0,)),)))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan"), 1])
def test_refuses_an_input_scale(scale):
    with pytest.raises(OperatorError, match="graph: input scale must be a float above 0"):
        infer_shapes(Graph((4, 8, 10), scale, (Op("relu", "", (0,)),)))


@pytest.mark.parametrize("count", [0, 4097])
def test_refuses_a_number_of_operators(count):
    ops = tuple(Op("relu", "", (0,)) for _ in range(count))
    with pytest.raises(LimitError, match=rf"must have 1\.\.4096 operators, got {count}"):
        infer_shapes(Graph((4, 8, 10), 1.0, ops))


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        (Op("relu", "", (0,)), (2**10, 2**10, 2**9), r"graph: input \[1024, 1024, 512\] has"),
        (conv(out_channels=2**24), (1, 8, 8), r"layer 'c': output .* has 1073741824 values"),
        (conv(padding=(4096, 4096), stride=(4096, 4096)), (5, 1, 1), "padded input .* limit 268"),
    ],
)
def test_refuses_too_many_values(op, shape, message):
    with pytest.raises(LimitError, match=message):
        infer_shapes(one(op, shape))


def test_refuses_too_many_weights():
    ops = (Op("flatten", "", (0,)), Op("fc", "f", (1,), {"out_features": 2**24, "bias": 1}))
    message = "layer 'f': 2164260864 weights up to here, limit 2147483648"
    with pytest.raises(LimitError, match=message):
        expected_tensors(Graph((1, 1, 129), 1.0, ops))
    assert expected_tensors(Graph((1, 1, 127), 1.0, ops))["f.weight"] == (2**24, 127)


def test_is_hashable_and_pickles():
    graph = one(conv())
    assert hash(graph) == hash(one(conv()))
    assert pickle.loads(pickle.dumps(graph)) == graph
