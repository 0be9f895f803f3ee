"""The passes of a recipe that change weights: what each does at once, and while it retrains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sigdca.codec import Graph
from sigdca.compression.hold import HoldHook
from sigdca.compression.prune import PruneHook, prune_
from sigdca.compression.quantize import QuantizeHook, fold_norms_, parameter_steps, quantize_
from sigdca.compression.rdoq import rdoq_
from sigdca.compression.select import Layer, layers_of, per_layer, weight_of
from sigdca.compression.share import ShareHook, share_
from sigdca.job import Prune, Quantize, Rdoq, Retrained, Share

Metrics = dict[str, float | int]
Hook = PruneHook | ShareHook | QuantizeHook | HoldHook


@dataclass(frozen=True)
class PassMethod:
    """How a pass works.

    Attributes:
        prepare_: changes the model in place without data, given its settings, a seed and the
            graph.
        hook: makes the hook for RETRAIN, given the settings and the model.
        holds: the setting that names the layers whose zeros the hook holds; None: it holds none.
    """

    prepare_: Callable[[nn.Module, Any, int, Graph], None]
    hook: Callable[[Any, nn.Module], PruneHook | ShareHook | QuantizeHook]
    holds: str | None


def prepare_(model: nn.Module, config: Retrained, seed: int, graph: Graph) -> Metrics:
    """The part of a pass that needs no training, in place.

    A gradual `prune`, one by movement, or a `quantize` that retrains changes nothing yet: its
    hook does so epoch by epoch.

    Args:
        model: the network.
        config: the pass's settings.
        seed: of whatever is random in the pass.
        graph: what `trace` makes of the model.

    Returns:
        `num_weights`, `num_nonzero` and `sparsity` of all conv and fc layers together.

    Raises:
        JobError: a setting names a layer that the model does not have, or does not suit a layer's
            weights.
    """
    PASSES[type(config)].prepare_(model, config, seed, graph)
    weights = [weight_of(model, layer.name) for layer in layers_of(model)]
    num_weights = sum(weight.numel() for weight in weights)
    num_nonzero = sum(int(weight.count_nonzero()) for weight in weights)
    return {
        "num_weights": num_weights,
        "num_nonzero": num_nonzero,
        "sparsity": 1 - num_nonzero / max(1, num_weights),
    }


def held_layers(
    config: Retrained, pruned: Sequence[Prune], layers: Sequence[Layer]
) -> tuple[str, ...]:
    """The layers whose zeros would not stay if a pass's own hook were alone.

    Args:
        config: the settings of the pass that retrains.
        pruned: the `prune` passes of its recipe that come before.
        layers: the model's layers.

    Returns:
        Their names, in the order of `layers`.

    Raises:
        JobError: a setting names a layer that the model does not have.
    """
    before = {
        name for prune in pruned for name in per_layer(prune.sparsity, layers, "prune.sparsity")
    }
    holds = PASSES[type(config)].holds
    own: set[str] = (
        set(per_layer(getattr(config, holds), layers, holds)) if holds is not None else set()
    )
    return tuple(layer.name for layer in layers if layer.name in before - own)


def hook_for(config: Retrained, model: nn.Module, held: Collection[str] = ()) -> Hook:
    """What holds a pass's constraint while the network is retrained.

    Args:
        config: the pass's settings.
        model: the network; only its layers' names count.
        held: layers whose zeros stay besides, as `held_layers` finds them.

    Returns:
        An object with `before_epoch(model, epoch, num_epochs)`, `after_backward(model)`,
        `after_step(model)`, `after_last_step(model)` and `after_epoch(model, epoch, num_epochs)`.
        It holds no state that the weights do not hold.

    Raises:
        JobError: a setting names a layer that the model does not have.
    """
    hook = PASSES[type(config)].hook(config, model)
    return HoldHook(hook, held) if held else hook


def _sparsity(config: Prune, model: nn.Module) -> dict[str, float]:
    return per_layer(config.sparsity, layers_of(model), "prune.sparsity")


def _bits(config: Share, model: nn.Module) -> dict[str, int]:
    return per_layer(config.bits, layers_of(model), "share.bits")


def _prepare_prune_(model: nn.Module, config: Prune, _seed: int, _graph: Graph) -> None:
    at_once = config.schedule == "one-shot" and config.importance == "magnitude"
    if at_once or config.epochs == 0:
        prune_(model, _sparsity(config, model))


def _prune_hook(config: Prune, model: nn.Module) -> PruneHook:
    sparsity = _sparsity(config, model)
    return PruneHook(sparsity, config.schedule, config.ramp, config.importance)


def _prepare_share_(model: nn.Module, config: Share, seed: int, _graph: Graph) -> None:
    share_(model, _bits(config, model), config.init, seed)


def _share_hook(config: Share, model: nn.Module) -> ShareHook:
    return ShareHook(_bits(config, model))


def _steps(config: Quantize, model: nn.Module) -> dict[str, float]:
    layers = per_layer(config.step, layers_of(model), "quantize.step")
    return parameter_steps(model, layers, config.bias_step)


def _prepare_quantize_(model: nn.Module, config: Quantize, _seed: int, _graph: Graph) -> None:
    if config.epochs == 0:
        quantize_(model, _steps(config, model))
        if config.norm_step is not None:
            fold_norms_(model, config.norm_step)


def _quantize_hook(config: Quantize, model: nn.Module) -> QuantizeHook:
    steps = _steps(config, model)
    return QuantizeHook(steps, config.rate_lambda, config.ramp, config.norm_step)


def _rdoq_steps(config: Rdoq, model: nn.Module) -> dict[str, float]:
    return per_layer(config.step, layers_of(model), "rdoq.step")


def _prepare_rdoq_(model: nn.Module, config: Rdoq, _seed: int, graph: Graph) -> None:
    rdoq_(model, graph, _rdoq_steps(config, model), config.rate_lambda, config.bias_step)


def _rdoq_hook(config: Rdoq, model: nn.Module) -> ShareHook:
    return ShareHook(_rdoq_steps(config, model))


PASSES: dict[type[Retrained], PassMethod] = {
    Prune: PassMethod(_prepare_prune_, _prune_hook, "sparsity"),
    Share: PassMethod(_prepare_share_, _share_hook, "bits"),
    Quantize: PassMethod(_prepare_quantize_, _quantize_hook, None),
    Rdoq: PassMethod(_prepare_rdoq_, _rdoq_hook, "step"),
}
