"""Engines beside each other: how far their logits lie apart, and what a verdict makes of int8."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from claims import Claim, at_least, at_most, seen
from numpy.typing import NDArray
from paper_networks import SHAPES, Tensors, paper_network

from sigdca.codec import Graph
from sigdca.data import load
from sigdca.edge.legs import LegResult, run_test_leg
from sigdca.engines import ENGINES, compare, open_engine, to_int8, to_onnx
from sigdca.engines.native import NativeEngine
from sigdca.errors import EngineError
from sigdca.targets import load_target

TOLERANCE = 1e-4  # of the largest logit, as test legs allow
NUM_IMAGES = {"lenet-300-100": 500, "lenet-5": 200, "alexnet": 4, "vgg-16": 2}


def agreement_claims(quick: bool, cache: Path) -> list[Claim]:
    """Each engine that is here against torch's float32, on the four networks."""
    differences: dict[str, list[float]] = {}
    flips = num_images = 0
    for name in NUM_IMAGES:
        if quick and name == "vgg-16":  # minutes to make, and gigabytes
            continue
        path, graph, tensors = paper_network(name, cache)
        images = _images(name, NUM_IMAGES[name] // (2 if quick else 1))
        expected = open_engine("torch", graph, tensors).logits(images)
        for engine, logits in _engines(path, graph, tensors, images):
            found = compare(logits, expected)
            differences.setdefault(engine, []).append(found.max_abs_difference / found.scale)
            flips += found.argmax_flips
            num_images += len(images)
    worst = [max(values) for values in differences.values()]
    each = ", ".join(f"{name} {max(values):.1e}" for name, values in differences.items())
    largest = at_most("engines: largest difference", [max(worst)], TOLERANCE, "x", each)
    changed = at_most("engines: images of another class", [flips], 0, "", "torch")
    return [
        replace(largest, n=len(worst), spread=(min(worst), max(worst))),
        replace(changed, n=num_images),
        seen("engines beside torch", [len(differences)], ""),
    ]


def _images(name: str, count: int) -> NDArray[np.uint8]:
    """MNIST's digits for a LeNet, random pixels for others."""
    if name.startswith("lenet"):
        return load("mnist", "test").images[:count]
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPES[name]), dtype=np.uint8)


def _engines(
    path: Path, graph: Graph, tensors: Tensors, images: NDArray[np.uint8]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    content = path.read_bytes()
    for profile in ("exact", "fast"):
        yield f"native {profile}", NativeEngine(content, profile=profile).logits(images)
    for name in ENGINES:
        if name in ("native", "torch", "tensorrt-fp16", "openvino-int8"):
            continue
        try:
            yield name, open_engine(name, graph, tensors).logits(images)
        except EngineError as error:
            print(f"left out: {error}", file=sys.stderr)


def int8_claims(quick: bool, cache: Path) -> list[Claim]:
    """OpenVINO's int8 on the emulated Atom, as NNCF makes it by default and with overflow_fix."""
    _, graph, tensors = paper_network("lenet-5", cache)
    images = load("mnist", "test").images[: 16 if quick else 64]
    learnt = load("mnist", "train").images[:300]
    try:
        models = [
            to_int8(to_onnx(graph, tensors), learnt, overflow_fix=fix) for fix in (False, True)
        ]
    except EngineError as error:
        print(f"left out: {error}", file=sys.stderr)
        return []
    plain, mended = (_on_the_atom(model, images) for model in models)
    # Not that there was no emulator: it ran there, and gave something else.
    caught = plain.evidence == "isa" and plain.reason.startswith("beyond tolerance")
    accepted = mended.verdict in ("exact", "tolerance")
    claims = [
        at_least("OpenVINO int8, saturates on the Atom: refused", [caught], 1, "", _told(plain)),
        at_least("OpenVINO int8 with overflow_fix: proven", [accepted], 1, "", _told(mended)),
    ]
    return [replace(claim, n=len(images)) for claim in claims]


def _on_the_atom(model: bytes, images: NDArray[np.uint8]) -> LegResult:
    target = load_target("atom-x5-e3940").model_copy(update={"engine": "openvino-int8"})
    # The graph is in the file itself.
    reference = open_engine("openvino-int8", None, {}, container=model).logits(images)
    labels = reference.argmax(axis=1)
    return run_test_leg(target, model, images, labels, reference_logits=reference, emulated=True)


def _told(leg: LegResult) -> str:
    if leg.logits_sha256 is None or leg.reference_logits_sha256 is None:
        return leg.reason
    hashes = f"{leg.logits_sha256[:8]} by {leg.reference_logits_sha256[:8]}"
    return (
        f"{leg.verdict} ({leg.evidence}): {hashes}, difference "
        f"{leg.max_abs_difference:.2g}, {leg.argmax_flips} flips"
    )
