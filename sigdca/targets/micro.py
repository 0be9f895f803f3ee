"""Small networks that a board is calibrated with: random ones, the same on every board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import Graph, Op, encode_container, expected_tensors
from sigdca.codec.graph import Attr, infer_shapes

SCALE = 1 / 256
CLASSES = 10
NUM_FC, NUM_CONV, NUM_DEPTHWISE, NUM_OTHER = 80, 110, 24, 36
MOST_PRODUCTS = 60_000_000  # of a convolution: a small core takes a tenth of a second
MOST_VALUES = 300_000  # of an activation

_DENSITIES = (0.04, 0.08, 0.15, 0.25, 0.4, 0.7, 1.0)
_BOOKS = (0, 16, 32, 64, 256)  # values that weights share; 0: each has its own
# Kernel and stride; what is met more often stands there more often.
_WINDOWS = (
    (1, 1),
    (1, 1),
    (3, 1),
    (3, 1),
    (3, 1),
    (5, 1),
    (5, 1),
    (3, 2),
    (5, 2),
    (7, 2),
    (11, 4),
)
_POOLS = (("max_pool", 2, 2), ("max_pool", 2, 2), ("max_pool", 3, 2), ("avg_pool", 2, 2))


@dataclass
class Net:
    """A network that grows from its input on."""

    input_shape: tuple[int, int, int]
    ops: list[Op] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        """What it is so far."""
        return Graph(self.input_shape, SCALE, tuple(self.ops))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its last value."""
        return infer_shapes(self.graph)[-1] if self.ops else self.input_shape

    def add(self, kind: str, inputs: Sequence[int] | None = None, **attrs: Attr) -> int:
        """Appends an operator behind the last one, or behind the given values."""
        layer = kind in ("conv", "fc", "batch_norm")
        name = f"{kind}{len(self.ops)}" if layer else ""
        self.ops.append(
            Op(kind, name, (len(self.ops),) if inputs is None else tuple(inputs), attrs)
        )
        return len(self.ops)

    def conv(
        self,
        channels: int,
        kernel: int,
        stride: int,
        padding: int,
        groups: int = 1,
        value: int | None = None,
    ) -> int:
        """A convolution of square windows, of the last value or another one."""
        return self.add(
            "conv",
            None if value is None else (value,),
            out_channels=channels,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(padding, padding),
            dilation=(1, 1),
            groups=groups,
            bias=1,
        )

    def fc(self, features: int) -> int:
        """A fully connected layer."""
        return self.add("fc", out_features=features, bias=1)

    def pool(self, kind: str, kernel: int, stride: int) -> int:
        """Pooling, its size rounded up."""
        window: dict[str, Attr] = {"kernel": (kernel, kernel), "stride": (stride, stride)}
        window |= {"padding": (0, 0), "ceil": 1}
        if kind == "avg_pool":
            window["include_pad"] = 1
        return self.add(kind, None, **window)

    def end(self) -> None:
        """Logits of whatever there is."""
        if len(self.shape) == 3:
            if self.shape[1:] != (1, 1):
                self.add("global_avg_pool")
            self.add("flatten")
        self.fc(CLASSES)


def micro_networks() -> Iterator[bytes]:
    """Containers of one to four layers each, in the same order and with the same bytes always.

    Shapes, densities and numbers of shared values are drawn from what networks for embedded
    targets have; none is one of `sigdca.models`.
    """
    rng = np.random.default_rng(7)
    makers = (
        (_fc, NUM_FC),
        (_conv, NUM_CONV),
        (_depthwise, NUM_DEPTHWISE),
        (_other, NUM_OTHER),
    )
    for make, count in makers:
        for number in range(count):
            net = make(rng, number)
            yield _container(net, rng)


def _fc(rng: np.random.Generator, number: int) -> Net:
    net = Net((_log(rng, 32, 3000), 1, 1))
    net.add("flatten")
    for _ in range(1 + number % 3):
        net.fc(_log(rng, 10, 1000))
        net.add("relu")
    net.end()
    return net


def _conv(rng: np.random.Generator, number: int) -> Net:
    while True:
        kernel, stride = _WINDOWS[rng.integers(len(_WINDOWS))]
        side = _log(rng, max(kernel, 6), 96 if stride > 1 else 56)
        net = Net((_log(rng, 1, 160), side, side))
        padding = kernel // 2 if rng.random() < 0.7 else 0
        net.conv(_log(rng, 8, 256), kernel, stride, padding)
        if rng.random() < 0.7:
            net.add("relu")
        if number % 2 and min(net.shape[1:]) >= 3:
            net.pool(*_POOLS[rng.integers(len(_POOLS))])
        if number % 3 == 0:
            kernel = min(3, *net.shape[1:])
            net.conv(_log(rng, 8, 256), kernel, 1, kernel // 2)
        net.end()
        if _is_small(net.graph):
            return net


def _depthwise(rng: np.random.Generator, _number: int) -> Net:
    while True:
        side = _log(rng, 6, 56)
        net = Net((_log(rng, 8, 256), side, side))
        net.conv(net.shape[0], 3, 1 + int(rng.random() < 0.4), 1, net.shape[0])
        net.add("relu6")
        net.conv(_log(rng, 16, 256), 1, 1, 0)
        net.end()
        if _is_small(net.graph):
            return net


def _other(rng: np.random.Generator, number: int) -> Net:
    """One operator without weights, or a batch norm by itself, on an image."""
    side = _log(rng, 6, 56)
    net = Net((_log(rng, 3, max(4, MOST_VALUES // 4 // side**2)), side, side))
    kind = ("lrn", "add", "concat", "batch_norm", "relu", "softmax")[number % 6]
    if kind == "lrn":
        net.add(kind, size=5, alpha=1e-4, beta=0.75, k=1.0)
    elif kind in ("add", "concat"):
        net.add(kind, (net.add("relu"), 0))
    elif kind == "batch_norm":
        net.add(kind, eps=1e-5)
    elif kind == "relu":
        net.add(kind)
    net.end()
    if kind == "softmax":
        net.add(kind)
    return net


def _log(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number whose logarithm is spread evenly."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _is_small(graph: Graph) -> bool:
    shapes = infer_shapes(graph)
    tensors = expected_tensors(graph)
    products = 0
    for op, shape in zip(graph.ops, shapes[1:], strict=True):
        if op.kind == "conv":
            products += int(np.prod(tensors[f"{op.name}.weight"]) * np.prod(shape[1:]))
    return products <= MOST_PRODUCTS and max(int(np.prod(s)) for s in shapes) <= MOST_VALUES


def _container(net: Net, rng: np.random.Generator) -> bytes:
    """With random weights, pruned and shared."""
    tensors: dict[str, NDArray[np.float32]] = {}
    density, book = 1.0, 0
    for name, shape in expected_tensors(net.graph).items():
        if name.endswith("running_var"):
            tensors[name] = np.ones(shape, np.float32)
        elif name.endswith(".weight") and len(shape) > 1:
            density, book = float(rng.choice(_DENSITIES)), int(rng.choice(_BOOKS))
            tensors[name] = _weights(rng, shape, density, book)
        else:
            tensors[name] = rng.normal(0, 0.05, shape).astype(np.float32)
    return encode_container(net.graph, tensors)


def _weights(
    rng: np.random.Generator, shape: tuple[int, ...], density: float, book: int
) -> NDArray[np.float32]:
    """The largest of random weights, scaled so that activations neither grow nor vanish."""
    weights = rng.standard_normal(shape, np.float32)
    kept = np.abs(weights) >= np.quantile(np.abs(weights), 1 - density)
    if book:
        half = book / 2 - 0.5
        step = float(np.abs(weights).max()) / half
        # No value is 0: a weight is 0 only where it was pruned.
        weights = ((np.floor(weights / step) + 0.5) * step).astype(np.float32)
    weights = np.where(kept, weights, np.float32(0))
    fan_in = float(np.prod(shape[1:]))
    scale = np.sqrt(2 / (fan_in * max(float(np.square(weights).mean()), 1e-12)))
    result: NDArray[np.float32] = (weights * np.float32(scale)).astype(np.float32)
    return result
