"""Every form in which torch says an operator, the graph that it must give, and what is refused."""

import copy
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from sigdca.codec.graph import Op, expected_tensors, infer_shapes
from sigdca.errors import JobError
from sigdca.models import trace

SHAPE = (4, 8, 6)
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0}


def net(forward, **layers):
    """A module with these layers whose forward is `forward(self, x)`."""
    model = type("Net", (nn.Module,), {"forward": forward})()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


def ops(forward, shape=SHAPE, **layers):
    return list(trace(net(forward, **layers), shape, 0.5).ops)


CONV = {
    "out_channels": 6,
    "kernel": (3, 3),
    "stride": (1, 1),
    "padding": (0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "bias": 1,
}
NAMED = [
    (nn.Conv2d(4, 6, 3), "conv", CONV),
    (nn.Conv2d(4, 6, 3, bias=False), "conv", {**CONV, "bias": 0}),
    (
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(1, 3), groups=2),
        "conv",
        {
            **CONV,
            "kernel": (3, 2),
            "stride": (1, 2),
            "padding": (2, 0),
            "dilation": (1, 3),
            "groups": 2,
        },
    ),
    (nn.Conv2d(4, 6, 3, padding="same"), "conv", {**CONV, "padding": (1, 1)}),
    (
        nn.Conv2d(4, 6, (3, 5), padding="same", dilation=2),
        "conv",
        {**CONV, "kernel": (3, 5), "dilation": (2, 2), "padding": (2, 4)},
    ),
    (nn.Conv2d(4, 6, 3, padding="valid"), "conv", CONV),
    (nn.BatchNorm2d(4, eps=1e-3), "batch_norm", {"eps": 1e-3}),
]


@pytest.mark.parametrize(("layer", "kind", "attrs"), NAMED)
def test_layer_with_parameters(layer, kind, attrs):
    model = net(lambda self, x: self.it(x), it=layer)
    graph = trace(model, SHAPE, 0.5)
    assert graph.ops == (Op(kind, "it", (0,), attrs),)
    assert (graph.input_shape, graph.input_scale) == (SHAPE, 0.5)
    state = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    state.pop("it.num_batches_tracked", None)
    assert expected_tensors(graph) == state
    assert infer_shapes(graph)[1] == layer.eval()(torch.zeros(1, *SHAPE)).shape[1:]


def test_fc():
    layers = {"flat": nn.Flatten(), "out": nn.Linear(192, 5, bias=False)}
    assert ops(lambda self, x: self.out(self.flat(x)), **layers) == [
        Op("flatten", "", (0,), {}),
        Op("fc", "out", (1,), {"out_features": 5, "bias": 0}),
    ]


LRN = {"size": 3, "alpha": 0.1, "beta": 0.5, "k": 2.0}
# Each operator in every form: a module, functions, methods.
FORMS = [
    ("relu", {}, [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        lambda self, x: functional.relu(x),
        lambda self, x: functional.relu(input=x),
        lambda self, x: functional.relu(x, inplace=True),
        lambda self, x: torch.relu(x),
        lambda self, x: torch.relu_(x),
        lambda self, x: functional.relu_(x),
        lambda self, x: x.relu(),
        lambda self, x: x.relu_(),
    ]),
    ("relu6", {}, [
        nn.ReLU6(),
        nn.Hardtanh(0, 6),
        lambda self, x: functional.relu6(x),
        lambda self, x: functional.hardtanh(x, 0, 6),
    ]),
    ("max_pool", POOL, [
        nn.MaxPool2d(2),
        nn.MaxPool2d((2, 2), stride=2),
        lambda self, x: functional.max_pool2d(x, 2),
        lambda self, x: functional.max_pool2d(x, kernel_size=[2, 2], stride=(2, 2)),
        lambda self, x: torch.max_pool2d(x, 2),
    ]),
    ("max_pool", {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil": 1}, [
        nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True),
        lambda self, x: functional.max_pool2d(x, (3, 2), (2, 1), (1, 0), ceil_mode=True),
    ]),
    ("avg_pool", {**POOL, "include_pad": 1}, [
        nn.AvgPool2d(2),
        lambda self, x: functional.avg_pool2d(x, 2),
    ]),
    (
        "avg_pool",
        {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil": 1, "include_pad": 0},
        [
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            lambda self, x: functional.avg_pool2d(x, 3, 2, 1, True, False),
        ],
    ),
    ("avg_pool", {**POOL, "kernel": (8, 6), "stride": (8, 6), "include_pad": 1}, [
        lambda self, x: functional.avg_pool2d(x, x.size()[2:]),
        lambda self, x: functional.avg_pool2d(x, (x.size(2), x.shape[-1])),
    ]),
    ("global_avg_pool", {}, [
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((1, 1)),
        lambda self, x: functional.adaptive_avg_pool2d(x, 1),
        lambda self, x: x.mean((2, 3), keepdim=True),
        lambda self, x: torch.mean(x, dim=[-1, -2], keepdim=True),
    ]),
    ("flatten", {}, [
        nn.Flatten(),
        lambda self, x: torch.flatten(x, 1),
        lambda self, x: torch.flatten(x, start_dim=1),
        lambda self, x: torch.flatten(x, 1, 3),
        lambda self, x: x.flatten(1),
        lambda self, x: x.view(x.size(0), -1),
        lambda self, x: x.view(x.size(dim=0), -1),
        lambda self, x: x.view((x.shape[0], 192)),
        lambda self, x: x.view(-1, 192),
        lambda self, x: x.contiguous().view(-1, x.size(1) * x.size(2) * x.size(3)),
        lambda self, x: x.reshape(x.size()[0], -1),
        lambda self, x: torch.reshape(x, (x.shape[0], -1)),
    ]),
    ("softmax", {}, [
        nn.Softmax(dim=1),
        nn.Softmax(dim=-3),
        lambda self, x: functional.softmax(x, 1),
        lambda self, x: torch.softmax(x, dim=1),
        lambda self, x: x.softmax(1),
    ]),
    ("lrn", LRN, [
        nn.LocalResponseNorm(3, 0.1, 0.5, 2.0),
        lambda self, x: functional.local_response_norm(x, 3, alpha=0.1, beta=0.5, k=2.0),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "attrs", "form"),
    [(kind, attrs, form) for kind, attrs, forms in FORMS for form in forms],
)
def test_operator_in_every_form(kind, attrs, form):
    model = net(lambda self, x: self.it(x), it=form) if isinstance(form, nn.Module) else net(form)
    graph = trace(model, SHAPE, 0.5)
    assert graph.ops == (Op(kind, "", (0,), attrs),)
    # The shape is what torch itself gives.
    assert infer_shapes(graph)[1] == model(torch.zeros(3, *SHAPE)).shape[1:]


@pytest.mark.parametrize(
    "form",
    [
        lambda self, x: functional.dropout(x, 0.3, self.training),
        lambda self, x: functional.dropout2d(x, 0.3, self.training),
        nn.Dropout(0.3),
        nn.Dropout2d(0.3),
        nn.Identity(),
        nn.AdaptiveAvgPool2d((8, 6)),
        nn.Sequential(),
    ],
)
def test_what_does_nothing_at_inference_vanishes(form):
    def forward(self, x):
        x = self.it(x) if isinstance(form, nn.Module) else form(self, x)
        return torch.relu(x)

    layers = {"it": form} if isinstance(form, nn.Module) else {}
    assert ops(forward, **layers) == [Op("relu", "", (0,), {})]


def test_mean_without_keepdim_is_flat():
    assert ops(lambda self, x: x.mean([2, 3])) == [
        Op("global_avg_pool", "", (0,), {}),
        Op("flatten", "", (1,), {}),
    ]


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: x + y,
        lambda x, y: torch.add(x, y),
        lambda x, y: x.add(y),
        lambda x, y: x.add_(y),
        lambda x, y: torch.add(x, other=y),
        operator.iadd,
    ],
)
def test_sum(add):
    def forward(self, x):
        x = self.a(x)
        return add(x, torch.relu(x))

    assert ops(forward, a=nn.BatchNorm2d(4))[1:] == [
        Op("relu", "", (1,), {}),
        Op("add", "", (1, 2), {}),
    ]


@pytest.mark.parametrize(
    "cat",
    [
        lambda x, y: torch.cat((x, y, x), 1),
        lambda x, y: torch.cat([x, y, x], dim=-3),
        lambda x, y: torch.concat(tensors=[x, y, x], dim=1),
        lambda x, y: torch.cat([x, y, x], axis=1),
    ],
)
def test_concatenation(cat):
    graph = trace(net(lambda self, x: cat(x, torch.relu(x))), SHAPE, 1.0)
    assert graph.ops[-1] == Op("concat", "", (0, 1, 0), {})
    assert infer_shapes(graph)[-1] == (12, 8, 6)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv(x)) + x


def test_nested_modules_keep_the_names_of_the_state_dict():
    model = nn.Sequential(nn.Sequential(Block(), Block()), nn.Flatten(), nn.Linear(192, 10))
    graph = trace(model, SHAPE, 1.0)
    assert [op.name for op in graph.ops if op.name] == ["0.0.conv", "0.1.conv", "2"]
    assert set(expected_tensors(graph)) == set(model.state_dict())
    assert [op.inputs for op in graph.ops if op.kind == "add"] == [(2, 0), (5, 3)]


def test_change_in_place_is_seen_by_later_users():
    def forward(self, x):
        x = self.a(x)
        functional.relu(x, inplace=True)  # its result is not used, its effect is
        return x + self.b(x)

    assert ops(forward, a=nn.BatchNorm2d(4), b=nn.BatchNorm2d(4)) == [
        Op("batch_norm", "a", (0,), {"eps": 1e-5}),
        Op("relu", "", (1,), {}),
        Op("batch_norm", "b", (2,), {"eps": 1e-5}),
        Op("add", "", (2, 3), {}),
    ]


def test_what_the_output_does_not_need_is_left_out():
    def forward(self, x):
        y = self.a(x)
        self.head(y)  # an operator that no container has, but nobody needs it
        functional.relu_(self.b(x))
        return torch.relu(y)

    layers = {"a": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4), "head": nn.GELU()}
    assert [op.inputs for op in ops(forward, **layers)] == [(0,), (1,)]


def test_plain_module_may_be_used_twice():
    def forward(self, x):
        return self.relu(self.bn(self.relu(x)))

    kinds = [op.kind for op in ops(forward, relu=nn.ReLU(), bn=nn.BatchNorm2d(4))]
    assert kinds == ["relu", "batch_norm", "relu"]


def test_training_mode_is_left_as_it_was_and_not_followed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = nn.BatchNorm2d(4).eval()

        def forward(self, x):
            x = self.frozen(x)
            return functional.gelu(x) if self.training else torch.relu(x)

    model = Net()
    model.frozen.eval()
    assert [op.kind for op in trace(model, SHAPE, 1.0).ops] == ["batch_norm", "relu"]
    assert (model.training, model.frozen.training) == (True, False)


REFUSED = [
    (nn.GELU(), r"layer 'it' \(GELU\): is not supported; supported are conv \(Conv2d\), fc"),
    (nn.ConvTranspose2d(4, 4, 3), r"layer 'it' \(ConvTranspose2d\): is not supported"),
    (nn.Conv2d(4, 4, 3, padding_mode="reflect"), "padding_mode 'reflect'; only 'zeros'"),
    (nn.Conv2d(4, 4, 2, padding="same"), "padding 'same' that differs between two sides"),
    (nn.Conv2d(3, 4, 3), r"layer 'it' \(Conv2d\): has in_channels 3, but gets \[4, 8, 6\]"),
    (nn.Conv2d(4, 4, 9), r"layer 'it' \(Conv2d\): .* larger than its padded input"),
    (nn.Linear(6, 2), r"layer 'it' \(Linear\): has in_features 6, but gets \[4, 8, 6\]"),
    (nn.Linear(4, 2), r"layer 'it' \(Linear\): .*must be flat"),
    (nn.BatchNorm2d(4, affine=False), "batch norm without affine parameters"),
    (nn.BatchNorm2d(4, track_running_stats=False), "batch norm without .* running statistics"),
    (nn.MaxPool2d(2, dilation=2), "max pooling with dilation"),
    (nn.MaxPool2d(2, return_indices=True), "max pooling with .* indices"),
    (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
    (nn.AdaptiveAvgPool2d(2), "adaptive average pooling to 2x2; only to 1x1 or"),
    (nn.AdaptiveAvgPool2d((1, None)), "one or two fixed whole numbers"),
    (nn.Hardtanh(), r"clipping to \[-1.0, 1.0\]; only \[0, 6\]"),
    (nn.Flatten(2), "flatten from axis 2 to -1; only from 1 to the end"),
    (nn.Softmax(dim=2), "softmax over axis 2; only over axis 1"),
    (lambda self, x: functional.gelu(x), r"node 'gelu' \(function gelu\): is not supported; sup"),
    (lambda self, x: x.sigmoid(), r"node 'sigmoid' \(method sigmoid\): is not supported"),
    (lambda self, x: functional.max_pool2d(x, 9), r"node 'max_pool2d' \(function max_pool2d\): "),
    (lambda self, x: torch.flatten(x), "flatten from axis 0 to -1"),
    (lambda self, x: x.view(-1, 96), r"a new shape \(-1, 96\); only \(batch size, -1\)"),
    (lambda self, x: x.view(3 * x.size(0), -1), "is not supported for 3"),
    (lambda self, x: x.view(x.size(0) * 3, -1), "is not supported for batch size"),
    (lambda self, x: x.view(x.size(7), -1), "a tensor of 4 axes has no 7"),
    (lambda self, x: x.mean(), "a mean over anything but height and width"),
    (lambda self, x: x.mean(1), "a mean over anything but height and width"),
    (lambda self, x: x + 1, "a tensor plus a number; only the sum of two tensors"),
    (lambda self, x: torch.add(x, x, alpha=2), "only the plain sum of two tensors"),
    (lambda self, x: x + functional.max_pool2d(x, 2), r"cannot add \[4, 8, 6\] and \[4, 4, 3\]"),
    (lambda self, x: torch.cat((x, x), 2), "along axis 2; only along axis 1"),
    (lambda self, x: torch.cat(x, 1), r"node 'cat' \(function cat\): has arguments that are not"),
    (lambda self, x: torch.cat((x, x), 1, out=x), "has arguments that are not supported: .*out"),
    (lambda self, x: x.relu(1, 2), "has arguments that are not supported: "),
    (lambda self, x: torch.cat((x, x)), "along axis 0; only along axis 1"),
    (lambda self, x: x[:, 0], r"\(function getitem\): is not supported"),
    (lambda self, x: x * x, r"\(function mul\): is not supported"),
    (lambda self, x: (x.relu(), x), "output: must be one tensor, got"),
    (lambda self, x: x, "its output is its input"),
    (lambda self, x: x.relu() if x.sum() > 0 else x, "torch.fx cannot trace Net: "),
    (lambda self, x: x.no_such_method(), r"\(method no_such_method\): is not supported"),
    (lambda self, x: self.nowhere(x), "torch.fx cannot trace Net: .*nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "message"), REFUSED)
def test_refused(form, message):
    model = net(lambda self, x: self.it(x), it=form) if isinstance(form, nn.Module) else net(form)
    with pytest.raises(JobError, match=message) as raised:
        trace(model, SHAPE, 1.0)
    assert str(raised.value).startswith("model: ")
    assert "\n" not in str(raised.value)


def test_two_inputs_are_refused():
    class Net(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(JobError, match="input 'y': a second input; a network has one"):
        trace(Net(), SHAPE, 1.0)


@pytest.mark.parametrize("computed", ["weight", "bias"])
@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)])
def test_a_parameter_that_is_computed_is_refused_until_it_is_permanent(layer, computed):
    layer = copy.deepcopy(layer)
    prune.random_unstructured(layer, computed, 0.5)
    with pytest.raises(JobError, match=rf"layer 'it' \(.*\): its {computed} is computed"):
        ops(lambda self, x: self.it(x), it=layer)
    prune.remove(layer, computed)
    assert len(ops(lambda self, x: self.it(x), it=layer)) == 1


def test_layer_used_twice_is_refused():
    model = net(lambda self, x: self.bn(self.bn(x)), bn=nn.BatchNorm2d(4))
    with pytest.raises(JobError, match=r"layer 'bn' \(BatchNorm2d\): used a second time"):
        trace(model, SHAPE, 1.0)


def test_parameter_outside_a_layer_is_refused():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 8, 6))

        def forward(self, x):
            return x + self.scale

    with pytest.raises(JobError, match=r"\(attribute scale\): a parameter or buffer used outside"):
        trace(Net(), SHAPE, 1.0)
