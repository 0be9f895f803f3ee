"""COMPRESS: the passes that make weights few and alike, and the hooks that keep them so."""

from sigdca.compression.hold import HoldHook
from sigdca.compression.kmeans import kmeans_codebook
from sigdca.compression.prune import (
    PruneHook,
    cubic_sparsity,
    magnitude_importance,
    mask_for,
    prune_,
)
from sigdca.compression.quantize import QuantizeHook, quantize_
from sigdca.compression.rdoq import rdoq_
from sigdca.compression.recipe import PASSES, Hook, held_layers, hook_for, prepare_
from sigdca.compression.select import Layer, layers_of, per_layer
from sigdca.compression.sensitivity import LEVELS, accuracy_of, scan_layer
from sigdca.compression.share import ShareHook, share_

__all__ = [
    "LEVELS",
    "PASSES",
    "HoldHook",
    "Hook",
    "Layer",
    "PruneHook",
    "QuantizeHook",
    "ShareHook",
    "accuracy_of",
    "cubic_sparsity",
    "held_layers",
    "hook_for",
    "kmeans_codebook",
    "layers_of",
    "magnitude_importance",
    "mask_for",
    "per_layer",
    "prepare_",
    "prune_",
    "quantize_",
    "rdoq_",
    "scan_layer",
    "share_",
]
