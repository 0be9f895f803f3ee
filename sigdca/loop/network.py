"""The job's network between stages: weights as arrays, artifacts as safetensors, its graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import nn

from sigdca.codec import Graph, expected_tensors
from sigdca.data import find_source
from sigdca.errors import StorageError
from sigdca.job import Job
from sigdca.models import build, load_weights, trace


def build_for(model: str, source: str) -> nn.Module:
    """The network `model` with as many outputs as the data has classes."""
    return build(model, find_source(source).num_classes)


def initial_model(job: Job) -> nn.Module:
    """The network before TRAIN: from the job's weights, or drawn from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        model = build_for(job.model, job.data.source)
    if job.weights is not None:
        load_weights(model, job.weights)
    return model


def model_with(job: Job, state: Mapping[str, np.ndarray]) -> nn.Module:
    """The network with these weights."""
    model = build_for(job.model, job.data.source)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    return model


def state_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the model's tensors, named as in its state_dict."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in model.state_dict().items()
    }


def weights_of(graph: Graph, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the model's tensors that the graph reads (not a batch norm's step counter)."""
    return {name: state[name] for name in expected_tensors(graph)}


def graph_of(job: Job, model: nn.Module) -> Graph:
    """The network's operators and shapes for the job's data."""
    source = find_source(job.data.source)
    return trace(model, source.input_shape, source.input_scale)


def pack(state: Mapping[str, np.ndarray]) -> bytes:
    """The weights as safetensors; the same weights give the same bytes."""
    contiguous = {name: np.ascontiguousarray(state[name]) for name in sorted(state)}
    content: bytes = save(contiguous)
    return content


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """The weights of an artifact.

    Raises:
        StorageError: the bytes are not safetensors.
    """
    try:
        state: dict[str, np.ndarray] = load(content)
    except Exception as error:  # the library raises its own untyped exception
        raise StorageError(f"artifact: not safetensors: {error}") from error
    return state
