"""Containers of every version are read for ever, bit for bit."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import (
    decode_container,
    encode_container,
    expected_tensors,
    inspect_container,
)
from sigdca.codec.layout import Coder, Kind

V1 = sorted((Path(__file__).parent / "v1").glob("*.dca"))
V2 = sorted((Path(__file__).parent / "v2").glob("*.dca"))

# The forms that the cases are there for: tensor name -> kinds of section.
FORMS = {
    "raw-all-operators": {Kind.DENSE},
    "all-operators-finite": {Kind.DENSE},
    "sparse-narrow-gaps": {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS},
    "sparse-fillers": {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS},
    "sparse-one-centroid": {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS},
    "one-weight-at-the-end": {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS},
    "every-weight-shared": {Kind.CODEBOOK, Kind.INDICES},
    "shared-with-a-few-zeros": {Kind.CODEBOOK, Kind.INDICES},
    "all-zero": {Kind.CODEBOOK, Kind.INDICES},
    "all-equal": {Kind.CODEBOOK, Kind.INDICES},
    "centroids-300": {Kind.CODEBOOK, Kind.INDICES, Kind.GAPS},
    "codes-of-16-bits": {Kind.CODEBOOK, Kind.INDICES},
    "extreme-values": {Kind.CODEBOOK, Kind.INDICES},
    "no-tensors": set(),
}


NEW_IN_V2 = {"grid-images", "grid-wide", "codebook-images", "raw-beside-grid", "one-sign"}
_ARITHMETIC, _RANS, _SPARSE, _RAW = Coder.ARITHMETIC, Coder.RANS, Coder.SPARSE, Coder.RAW
# Those of layers whose levels lie in chunks: the coders of its layers.
CHUNKED = {
    "places-codebook": [_SPARSE],
    "places-one-sign": [_SPARSE],
    "places-two-chunks": [_SPARSE],
    "places-wide-grid": [_SPARSE],
    "rans-256-ranks": [_RANS],
    "rans-beside-others": [_ARITHMETIC, _RANS, _RAW],
    "rans-gap-fillers": [_RANS],
    "rans-gaps": [_RANS],
    "rans-map": [_RANS],
    "rans-one-symbol": [_RANS],
    "rans-two-chunks": [_RANS],
}
# From when there were no chunks: they would be smaller now.
LARGER_THEN = {
    "centroids-300",
    "codes-of-16-bits",
    "every-weight-shared",
    "shared-with-a-few-zeros",
}


def test_every_case_is_there():
    assert {path.stem for path in V1} == set(FORMS)
    assert {path.stem for path in V2} == set(FORMS) | NEW_IN_V2 | set(CHUNKED)


@pytest.mark.parametrize("path", V1 + V2, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_decodes_to_the_same_bits(path, streams):
    container = decode_container(path.read_bytes())
    expected = json.loads(path.with_suffix(".json").read_text())
    assert json.loads(json.dumps(asdict(container.graph))) == expected["graph"]
    assert container.metadata == expected["metadata"]
    assert list(container.tensors) == list(expected_tensors(container.graph))
    with np.load(path.with_suffix(".npz")) as tensors:
        assert set(container.tensors) == set(tensors)
        for name, tensor in container.tensors.items():
            assert tensor.dtype == np.float32
            assert tensor.shape == tensors[name].shape
            assert tensor.tobytes() == tensors[name].tobytes()


@pytest.mark.parametrize("path", V2, ids=lambda path: path.stem)
def test_encodes_to_the_same_bytes(path, streams):
    """As long as the encoder is the one that wrote them: what it writes follows from its input."""
    container = decode_container(path.read_bytes())
    again = encode_container(
        container.graph,
        container.tensors,
        coder="rans" if path.stem.startswith("rans") else "arithmetic",
        metadata=container.metadata,
    )
    if path.stem in LARGER_THEN:
        assert len(again) < path.stat().st_size
    else:
        assert again == path.read_bytes()


@pytest.mark.parametrize("path", V2, ids=lambda path: path.stem)
def test_has_the_coders_that_it_stands_for(path):
    sections = inspect_container(path.read_bytes()).sections
    coders = [section.coder for section in sections if section.kind is Kind.LAYER]
    assert coders == CHUNKED.get(path.stem, coders)
    assert path.stem in CHUNKED or not {_RANS, _SPARSE} & set(coders)


@pytest.mark.parametrize("path", V1, ids=lambda path: path.stem)
def test_has_the_form_that_it_stands_for(path):
    info = inspect_container(path.read_bytes())
    kinds = {section.kind for section in info.sections if section.tensor is not None}
    assert kinds == FORMS[path.stem]
