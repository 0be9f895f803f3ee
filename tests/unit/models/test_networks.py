"""The contract of every network in MODELS: exact size, layers, output, and its seed."""

import pytest
import torch
from torch import nn

from sigdca.codec.graph import expected_tensors, infer_shapes
from sigdca.models import MODELS, build, trace

LENET_INPUT, CIFAR_INPUT, IMAGENET_INPUT = (1, 28, 28), (3, 32, 32), (3, 224, 224)
ALEXNET_LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
VGG_CONVS = [
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3"),
]
MOBILENET_BLOCK = ["expand", "norm1", "depthwise", "norm2", "project", "norm3"]
MOBILENET_LAYERS = [
    *("conv1", "norm1"),
    *(
        f"blocks.{number}.{part}"
        for number in range(17)
        for part in (MOBILENET_BLOCK if number else MOBILENET_BLOCK[2:])
    ),
    *("conv2", "norm2", "fc"),
]
NOT_IN_A_GRAPH = ".num_batches_tracked"  # of batch norm; only training reads it
EXPECTED = {
    "lenet-300-100": (266_610, LENET_INPUT, ["ip1", "ip2", "ip3"]),
    "lenet-5": (431_080, LENET_INPUT, ["conv1", "conv2", "ip1", "ip2"]),
    "alexnet": (61_100_840, IMAGENET_INPUT, ALEXNET_LAYERS),
    "alexnet-caffe": (60_965_224, (3, 227, 227), ALEXNET_LAYERS),
    "alexnet-cifar": (28_714_826, CIFAR_INPUT, ALEXNET_LAYERS),
    "vgg-16": (138_357_544, IMAGENET_INPUT, [*VGG_CONVS, "fc6", "fc7", "fc8"]),
    "vgg-16-cifar": (
        14_986_698,
        CIFAR_INPUT,
        [
            *(name for conv in VGG_CONVS for name in (conv, conv.replace("conv", "norm"))),
            *("fc6", "fc7"),
        ],
    ),
    "squeezenet-1.0": (
        1_248_424,
        IMAGENET_INPUT,
        [
            "conv1",
            *(
                f"fire{number}.{part}"
                for number in range(2, 10)
                for part in ("squeeze1x1", "expand1x1", "expand3x3")
            ),
            "conv10",
        ],
    ),
    "mobilenet-v2": (3_504_872, IMAGENET_INPUT, MOBILENET_LAYERS),
    "mobilenet-v2-cifar": (2_236_682, CIFAR_INPUT, MOBILENET_LAYERS),
}


def test_every_model_is_tested():
    assert EXPECTED.keys() == MODELS.keys()


@pytest.fixture(params=EXPECTED)
def case(request):
    """A network without memory for its weights, and what is known of it."""
    with torch.device("meta"):
        return build(request.param), *EXPECTED[request.param]


def test_parameters(case):
    model, num_parameters, _, _ = case
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters


def test_graph_is_the_network(case):
    model, _, shape, layers = case
    graph = trace(model, shape, 1 / 256)
    assert [op.name for op in graph.ops if op.name] == layers
    tensors = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith(NOT_IN_A_GRAPH)
    }
    assert expected_tensors(graph) == tensors
    with torch.device("meta"):
        logits = model(torch.empty(2, *shape))
    assert (2, *infer_shapes(graph)[-1]) == tuple(logits.shape)


@pytest.mark.parametrize("name", EXPECTED)
def test_num_classes(name):
    with torch.device("meta"):
        model = build(name, 7)
    assert list(model.state_dict().values())[-1].shape == (7,)


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_weights_depend_on_the_seed_alone(name):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build(name).parameters()])

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_initial_logits_keep_the_scale_of_their_input(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = build(name)(torch.randn(64, 1, 28, 28))
    assert 0.1 < float(logits.detach().std()) < 10


@pytest.mark.parametrize("name", ["alexnet", "alexnet-caffe", "alexnet-cifar", "vgg-16-cifar"])
def test_deep_networks_keep_the_scale_of_their_input(name):
    _, shape, _ = EXPECTED[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name).eval()
        with torch.no_grad():
            logits = model(torch.randn(1, *shape))
    assert 0.1 < float(logits.std()) < 10


def test_squeezenet_keeps_the_scale_of_its_input():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("squeezenet-1.0").eval()
        with torch.no_grad():
            logits = model(torch.randn(1, 3, 224, 224))
    assert logits.min() >= 0  # a ReLU is the last but the mean
    assert 0.1 < float(logits.mean()) < 10


@pytest.mark.parametrize(("side", "maps"), [(224, (109, 54)), (227, (111, 55))])
def test_squeezenet_has_the_maps_of_caffes(side, maps):
    with torch.device("meta"):
        model = build("squeezenet-1.0")
    shapes = infer_shapes(trace(model, (3, side, side), 1.0))
    sides = dict.fromkeys(shape[1] for shape in shapes if len(shape) == 3)
    # conv1, pool1, pool4 and pool8, conv10 with its padding, the mean.
    assert list(sides) == [side, *maps, 27, 13, 15, 1]


@pytest.mark.parametrize(
    ("name", "sides"), [("", [112, 56, 28, 14, 7]), ("-cifar", [32, 16, 8, 4])]
)
def test_mobilenet_halves_its_maps(name, sides):
    name = f"mobilenet-v2{name}"
    with torch.device("meta"):
        model = build(name)
    graph = trace(model, EXPECTED[name][1], 1.0)
    found = dict.fromkeys(shape[1] for shape in infer_shapes(graph)[1:] if len(shape) == 3)
    assert list(found) == [*sides, 1]
    assert [op.kind for op in graph.ops].count("add") == 10


def test_caffes_alexnet_has_two_towers():
    with torch.device("meta"):
        model = build("alexnet-caffe")
    groups = [layer.groups for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]
    kinds = [op.kind for op in trace(model, (3, 227, 227), 1.0).ops]
    assert kinds[:4] == ["conv", "relu", "lrn", "max_pool"]
