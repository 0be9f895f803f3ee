"""The scan of single layers as Ray tasks, a layer each; once for the same network and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
import torch

from sigdca.compression import LEVELS, accuracy_of, layers_of, scan_layer
from sigdca.data import find_source
from sigdca.distributed.sites import servers_of
from sigdca.distributed.trial import TrialSpec, device_here
from sigdca.loop.dataset import dataset_of
from sigdca.loop.network import model_with, unpack
from sigdca.search import SHARED, Curve, Kind, Sensitivity

FILE = "sensitivity.json"

Gather = Callable[[Sequence[Any]], list[Any]]


def scan_on_cluster(
    spec: TrialSpec, weights: str, kinds: Sequence[Kind], gather: Gather
) -> Sensitivity:
    """What each layer stands alone; taken from the study's folder if it is there.

    Args:
        spec: the study.
        weights: sha256 of the uncompressed network's, among the study's artifacts.
        kinds: what is changed: `sparsity`, `bits`, `step`.
        gather: waits for tasks.
    """
    assert spec.job.search is not None
    num_images = spec.job.search.sensitivity_images
    levels = {kind: LEVELS[kind] for kind in kinds}
    determines = [weights, spec.job.model, spec.job.data.source, num_images, levels]
    key = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()
    if spec.store.exists(FILE):
        found = Sensitivity.model_validate_json(spec.store.read(FILE))
        if found.key == key:
            return found
    state = unpack(spec.store.child(SHARED).get(weights))
    names = [layer.name for layer in layers_of(model_with(spec.job, state))]
    where, gpus = servers_of(spec.job.data), spec.job.search.gpus_per_trial
    task = ray.remote(num_cpus=1, num_gpus=gpus, label_selector=where)(_scan)
    kept = ray.put(state)
    done = gather([task.remote(spec, kept, name, tuple(kinds)) for name in names])
    curves = tuple(curve for _, found in done for curve in found)
    sensitivity = Sensitivity(
        key=key, num_images=num_images, accuracy=done[0][0] if done else 0.0, curves=curves
    )
    spec.store.write(FILE, sensitivity.model_dump_json(indent=1).encode())
    return sensitivity


def _scan(
    spec: TrialSpec, state: dict[str, np.ndarray], name: str, kinds: Sequence[Kind]
) -> tuple[float, list[Curve]]:
    """One layer: the accuracy of the network as it is, and a curve for each kind."""
    assert spec.job.search is not None
    device = device_here()
    model = model_with(spec.job, state).to(device)
    layer = next(found for found in layers_of(model) if found.name == name)
    dataset = dataset_of(spec.job.data, "train", spec.job.search.sensitivity_images)
    scale = find_source(spec.job.data.source).input_scale
    images = torch.from_numpy(np.ascontiguousarray(dataset.images)).to(device).float() * scale
    labels = torch.from_numpy(dataset.labels.astype(np.int64)).to(device)
    curves = [
        Curve(
            layer=layer.name,
            layer_kind=layer.kind,
            kind=kind,
            levels=LEVELS[kind],
            accuracy=tuple(scan_layer(model, layer.name, kind, images, labels)),
        )
        for kind in kinds
    ]
    return accuracy_of(model, images, labels), curves
