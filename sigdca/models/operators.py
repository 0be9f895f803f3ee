"""How torch says each operator of a container: as a module, a function or a tensor's method.

A reader is called with the shape of its input (no batch axis) and torch's own arguments. It gives
the operator's kind and attributes, or None where the node changes nothing at inference.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

Shape: TypeAlias = tuple[int, ...]
Operator: TypeAlias = tuple[str, dict[str, int | float | tuple[int, ...]]]
Reader: TypeAlias = Callable[..., Operator | None]


class UnsupportedError(Exception):
    """A container cannot hold this. The message says what about it, for the tracer's own error."""


class _Batch:
    """The batch axis's length, which no container knows."""

    def __repr__(self) -> str:
        return "batch size"


BATCH = _Batch()


def pair(value: object) -> tuple[int, int]:
    """Torch's `2` or `(2, 3)` as two numbers, for height and width."""
    items = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(items) == 1:
        items *= 2
    if len(items) != 2 or not all(isinstance(item, int) for item in items):
        raise UnsupportedError(f"must have one or two fixed whole numbers, got {value!r}")
    return items[0], items[1]


def _conv(module: nn.Conv2d) -> Operator:
    if module.padding_mode != "zeros":
        raise UnsupportedError(f"padding_mode '{module.padding_mode}'; only 'zeros' is supported")
    kernel, dilation = pair(module.kernel_size), pair(module.dilation)
    if isinstance(module.padding, str):
        padding = _named_padding(module.padding, kernel, dilation)
    else:
        padding = pair(module.padding)
    return "conv", {
        "out_channels": module.out_channels,
        "kernel": kernel,
        "stride": pair(module.stride),
        "padding": padding,
        "dilation": dilation,
        "groups": module.groups,
        "bias": int(module.bias is not None),
    }


def _named_padding(
    name: str, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    if name == "valid":
        return 0, 0
    total = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
    if any(amount % 2 for amount in total):
        raise UnsupportedError("padding 'same' that differs between two sides")
    return total[0] // 2, total[1] // 2


def _fc(module: nn.Linear) -> Operator:
    return "fc", {"out_features": module.out_features, "bias": int(module.bias is not None)}


def _batch_norm(module: nn.BatchNorm2d) -> Operator:
    if not module.affine or not module.track_running_stats:
        raise UnsupportedError("batch norm without affine parameters or running statistics")
    return "batch_norm", {"eps": float(module.eps)}


# What reads them, and their attribute that the input's first axis must equal. By exact type: a
# subclass may compute something else.
PARAMETERED: Mapping[type[nn.Module], tuple[Callable[[Any], Operator], str]] = {
    nn.Conv2d: (_conv, "in_channels"),
    nn.Linear: (_fc, "in_features"),
    nn.BatchNorm2d: (_batch_norm, "num_features"),
}


def _max_pool(
    shape: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Operator:
    if pair(dilation) != (1, 1) or return_indices:
        raise UnsupportedError("max pooling with dilation or with indices as its result")
    return "max_pool", _window(kernel_size, stride, padding, ceil_mode)


def _avg_pool(
    shape: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: object = None,
) -> Operator:
    if divisor_override is not None:
        raise UnsupportedError("average pooling with divisor_override")
    window = _window(kernel_size, stride, padding, ceil_mode)
    return "avg_pool", {**window, "include_pad": int(count_include_pad)}


def _window(
    kernel: object, stride: object, padding: object, ceil_mode: bool
) -> dict[str, int | float | tuple[int, ...]]:
    default = stride is None or stride == () or stride == []
    return {
        "kernel": pair(kernel),
        "stride": pair(kernel if default else stride),
        "padding": pair(padding),
        "ceil": int(ceil_mode),
    }


def _adaptive_avg_pool(shape: Shape, output_size: object) -> Operator | None:
    size = pair(output_size)
    if size == (1, 1):
        return "global_avg_pool", {}
    if size == shape[1:]:
        return None
    raise UnsupportedError(
        f"adaptive average pooling to {size[0]}x{size[1]}; only to 1x1 or to its input's size"
    )


def _mean(
    shape: Shape, dim: object = None, keepdim: bool = False, dtype: object = None
) -> Operator:
    axes = sorted(axis % 4 for axis in dim) if isinstance(dim, tuple | list) else None
    if axes != [2, 3] or len(shape) != 3 or dtype is not None:
        raise UnsupportedError("a mean over anything but height and width")
    return ("global_avg_pool" if keepdim else "global_avg_pool+flatten"), {}


def _relu(shape: Shape, inplace: bool = False) -> Operator:
    return "relu", {}


def _relu6(shape: Shape, inplace: bool = False) -> Operator:
    return "relu6", {}


def _hardtanh(
    shape: Shape, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Operator:
    if (min_val, max_val) != (0, 6):
        raise UnsupportedError(f"clipping to [{min_val}, {max_val}]; only [0, 6] (ReLU6)")
    return "relu6", {}


def _flatten(shape: Shape, start_dim: int = 0, end_dim: int = -1) -> Operator:
    if start_dim != 1 or end_dim not in (-1, len(shape)):
        raise UnsupportedError(
            f"flatten from axis {start_dim} to {end_dim}; only from 1 to the end"
        )
    return "flatten", {}


def _view(shape: Shape, *size: Any) -> Operator:
    """`x.view(x.size(0), -1)` and its kin: the batch axis stays, all others become one."""
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = tuple(size[0])
    values = 1
    for axis in shape:
        values *= axis
    keeps_batch = len(size) == 2 and (
        (size[0] is BATCH and size[1] in (-1, values)) or (size[0] == -1 and size[1] == values)
    )
    if not keeps_batch:
        raise UnsupportedError(f"a new shape {size}; only (batch size, -1)")
    return "flatten", {}


def _softmax(
    shape: Shape, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Operator:
    if dtype is not None or dim is None or dim % (len(shape) + 1) != 1:
        raise UnsupportedError(f"softmax over axis {dim}; only over axis 1")
    return "softmax", {}


def _local_response_norm(
    shape: Shape, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Operator:
    return "lrn", {"size": size, "alpha": float(alpha), "beta": float(beta), "k": float(k)}


def _nothing(shape: Shape, *args: object, **kwargs: object) -> None:
    """Dropout and identity: gone at inference."""


# Modules without parameters: what reads them, and their attributes, named as its arguments.
PLAIN_MODULES: Mapping[type[nn.Module], tuple[Reader, tuple[str, ...]]] = {
    nn.ReLU: (_relu, ()),
    nn.ReLU6: (_relu6, ()),
    nn.Hardtanh: (_hardtanh, ("min_val", "max_val")),
    nn.MaxPool2d: (
        _max_pool,
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    nn.AvgPool2d: (
        _avg_pool,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    nn.AdaptiveAvgPool2d: (_adaptive_avg_pool, ("output_size",)),
    nn.Flatten: (_flatten, ("start_dim", "end_dim")),
    nn.Softmax: (_softmax, ("dim",)),
    nn.LocalResponseNorm: (_local_response_norm, ("size", "alpha", "beta", "k")),
    nn.Dropout: (_nothing, ()),
    nn.Dropout2d: (_nothing, ()),
    nn.Identity: (_nothing, ()),
}

FUNCTIONS: Mapping[Any, Reader] = {
    functional.relu: _relu,
    torch.relu: _relu,
    torch.relu_: _relu,
    functional.relu6: _relu6,
    functional.hardtanh: _hardtanh,
    functional.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    functional.avg_pool2d: _avg_pool,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool,
    torch.mean: _mean,
    torch.flatten: _flatten,
    torch.reshape: _view,
    functional.softmax: _softmax,
    torch.softmax: _softmax,
    functional.local_response_norm: _local_response_norm,
    functional.dropout: _nothing,
    functional.dropout2d: _nothing,
}

METHODS: Mapping[str, Reader] = {
    "relu": _relu,
    "relu_": _relu,
    "mean": _mean,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    "softmax": _softmax,
    "contiguous": _nothing,
}

ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CONCATENATIONS = {torch.cat, torch.concat}

SUPPORTED = (
    "conv (Conv2d), fc (Linear), BatchNorm2d, max, average and global average pooling, ReLU, "
    "ReLU6, flatten, softmax, LocalResponseNorm, +, cat, dropout and identity"
)
