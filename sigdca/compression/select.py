"""Which layers a pass's setting speaks of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from torch import nn

from sigdca.errors import JobError

T = TypeVar("T", int, float)

_MAX_NAMED = 20  # a message lists no more layers than this


class Layer(NamedTuple):
    """A layer that can be compressed: its name in the module tree, its kind `conv` or `fc`."""

    name: str
    kind: str


def layers_of(model: nn.Module) -> list[Layer]:
    """The model's nn.Conv2d and nn.Linear layers, in the order of the module tree."""
    return [
        Layer(name, "conv" if isinstance(module, nn.Conv2d) else "fc")
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]


def weight_of(model: nn.Module, layer: str) -> nn.Parameter:
    """The weight of a layer that `layers_of` named."""
    weight = model.get_submodule(layer).weight
    assert isinstance(weight, nn.Parameter)
    return weight


def per_layer(setting: T | Mapping[str, T], layers: Sequence[Layer], where: str) -> dict[str, T]:
    """Spreads a setting over the layers.

    A key is a layer's name; if no layer has it, a kind (`conv`, `fc`); else a prefix of names.
    Where several keys speak of one layer, its own name counts, then the longest prefix, then the
    kind.

    Args:
        setting: one figure for every layer, or figures by key.
        layers: the model's layers.
        where: the setting's place in the job, for messages.

    Returns:
        Layer name -> figure, in the order of `layers`. Layers that no key speaks of are left out.

    Raises:
        JobError: a key speaks of no layer.
    """
    if not isinstance(setting, Mapping):
        return {layer.name: setting for layer in layers}
    names = {layer.name for layer in layers}
    best: dict[str, tuple[int, str]] = {}
    for key in setting:
        found = [(rank, name) for name, rank in _matches(key, layers, names)]
        if not found:
            raise JobError(f"{where}: {_unmatched(key, layers)}")
        for rank, name in found:
            best[name] = max(best.get(name, (-1, "")), (rank, key))
    return {layer.name: setting[best[layer.name][1]] for layer in layers if layer.name in best}


def _matches(key: str, layers: Sequence[Layer], names: set[str]) -> list[tuple[str, int]]:
    """The layers that a key speaks of, each with how closely: kind < prefix < name."""
    if key in names:
        return [(key, 2 + len(key))]
    kinds = [(layer.name, 0) for layer in layers if layer.kind == key]
    if kinds:
        return kinds
    return [(layer.name, 1 + len(key)) for layer in layers if key and layer.name.startswith(key)]


def _unmatched(key: str, layers: Sequence[Layer]) -> str:
    names = [layer.name for layer in layers]
    if not names:
        return f"no layer '{key}' in the model; it has no conv or fc layer"
    listed = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
    near = difflib.get_close_matches(key, [*names, "conv", "fc"], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"no layer '{key}' in the model; layers are {listed}{hint}"
