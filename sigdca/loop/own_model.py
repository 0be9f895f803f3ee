"""Tries out a user's own network: does it do what its graph says, and can it be trained?"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sigdca.codec import Graph, expected_tensors, infer_shapes
from sigdca.engines.torch import forward
from sigdca.errors import JobError

TOLERANCE = 1e-3  # of the largest logit: sums in another order differ by less


def check_model(model: nn.Module, graph: Graph, num_classes: int) -> None:
    """Runs the network on an image, once at inference and once in training.

    Args:
        model: the network; its running statistics change.
        graph: what `trace` has made of it.
        num_classes: of the data.

    Raises:
        JobError: it does not give a logit for each class, or its forward does what torch.fx does
            not see.
    """
    shape = infer_shapes(graph)[-1]
    if len(shape) != 1:
        raise JobError(
            f"model: gives {list(shape)} for an image, must give a logit for each class: flatten "
            "it"
        )
    if shape[0] < num_classes:
        raise JobError(
            f"model: gives {shape[0]} logits, but the data has {num_classes} classes; a "
            "constructor with a parameter num_classes is told their number"
        )
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        _compare(model, graph, shape[0])
        _logits(model, torch.zeros(2, *graph.input_shape), shape[0], "training")


def _compare(model: nn.Module, graph: Graph, num_logits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, *graph.input_shape), generator=generator).float()
    wanted = _logits(model, pixels * graph.input_scale, num_logits, "inference")
    difference = float((forward(graph, _weights(model, graph), pixels) - wanted).abs().max())
    largest = float(wanted.abs().max())
    if difference > TOLERANCE * largest:
        raise JobError(
            f"model: its traced graph gives other logits than the model, by {difference:.2g} "
            f"where the largest is {largest:.2g}: an in-place change of a shared tensor, a hook, "
            "or dropout without training=self.training"
        )


def _weights(model: nn.Module, graph: Graph) -> list[dict[str, Tensor]]:
    """The model's own tensors for each operator, by their last names."""
    state = model.state_dict()
    layers: dict[str, dict[str, Tensor]] = {}
    for name in expected_tensors(graph):
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = state[name]
    return [layers.get(op.name, {}) for op in graph.ops]


def _logits(
    model: nn.Module, images: Tensor, num_logits: int, mode: Literal["inference", "training"]
) -> Tensor:
    """What the model gives in a mode, which must be one tensor."""
    model.train(mode == "training")
    try:
        logits = model(images)
    except Exception as error:  # the model's code may raise anything
        reason = str(error).partition("\n")[0]
        raise JobError(
            f"model: its forward fails in {mode}: {type(error).__name__}: {reason}"
        ) from error
    wanted = [len(images), num_logits]
    got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or got != wanted:
        raise JobError(f"model: must give one tensor {wanted} in {mode}, got {got}")
    return logits
