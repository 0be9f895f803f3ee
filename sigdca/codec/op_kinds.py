"""The operators that a graph may have, and the range of every attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Attr: TypeAlias = int | float | tuple[int, ...]

MAX_INPUTS = 256


@dataclass(frozen=True)
class AttrKind:
    """What one attribute may be.

    Attributes:
        type: a whole number, two of them (height, width), or a finite number.
        low: the least value.
        high: the greatest.
    """

    type: Literal["int", "pair", "float"]
    low: float
    high: float

    def complaint(self, value: object) -> str | None:
        """What is wrong with `value`, in words that follow its name; None if nothing is."""
        items: tuple[object, ...] = (value,)
        if self.type == "pair":
            items = value if isinstance(value, tuple) and len(value) == 2 else ()
        if items and all(self._allows(item) for item in items):
            return None
        form = {"int": "a whole number", "pair": "two whole numbers", "float": "a finite float"}
        return f"must be {form[self.type]} in {self.low:.10g}..{self.high:.10g}, got {value!r}"

    def _allows(self, item: object) -> bool:
        if self.type == "float":
            return isinstance(item, float) and self.low <= item <= self.high
        # Exactly int: a bool is one too, but says something else.
        return type(item) is int and self.low <= item <= self.high


@dataclass(frozen=True)
class OpKind:
    """One kind of operator.

    Attributes:
        code: its number in the graph section; never given to another kind.
        attrs: its attributes in the order in which they are written; all must be there.
        tensors: the ends of its tensors' names; none if it has no parameters. `bias` is there
            where the attribute of that name is 1 (batch_norm: always).
        num_inputs: the least and the greatest number of inputs.
    """

    code: int
    attrs: Mapping[str, AttrKind]
    tensors: tuple[str, ...] = ()
    num_inputs: tuple[int, int] = (1, 1)


_SIZE = AttrKind("int", 1, 2**24)
_FLAG = AttrKind("int", 0, 1)
_STEPS = AttrKind("pair", 1, 4096)
_PADDING = AttrKind("pair", 0, 4096)
_WINDOW = {"kernel": _STEPS, "stride": _STEPS, "padding": _PADDING, "ceil": _FLAG}
_FACTOR = AttrKind("float", 0.0, 1e6)

OP_KINDS: Mapping[str, OpKind] = {
    "conv": OpKind(
        1,
        {
            "out_channels": _SIZE,
            "kernel": _STEPS,
            "stride": _STEPS,
            "padding": _PADDING,
            "dilation": _STEPS,
            "groups": _SIZE,
            "bias": _FLAG,
        },
        ("weight", "bias"),
    ),
    "fc": OpKind(2, {"out_features": _SIZE, "bias": _FLAG}, ("weight", "bias")),
    "max_pool": OpKind(3, _WINDOW),
    "avg_pool": OpKind(4, {**_WINDOW, "include_pad": _FLAG}),
    "global_avg_pool": OpKind(5, {}),
    "relu": OpKind(6, {}),
    "relu6": OpKind(7, {}),
    "flatten": OpKind(8, {}),
    "softmax": OpKind(9, {}),
    "lrn": OpKind(
        10,
        {"size": AttrKind("int", 1, 4096), "alpha": _FACTOR, "beta": _FACTOR, "k": _FACTOR},
    ),
    "batch_norm": OpKind(
        11,
        {"eps": AttrKind("float", 0.0, 1.0)},
        ("weight", "bias", "running_mean", "running_var"),
    ),
    "add": OpKind(12, {}, num_inputs=(2, 2)),
    "concat": OpKind(13, {}, num_inputs=(1, MAX_INPUTS)),
}
