"""Which extra of sigdca brings what."""

import importlib.metadata

import pytest

from sigdca.errors import extra_of


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("onnxruntime", "edge"),  # of `cluster` too; the smaller one is named
        ("jinja2", "cluster"),
        ("optuna_dashboard", "cluster"),
        ("ray", "cluster"),
        ("safetensors", "cluster"),
        ("torch", "cluster"),
        ("nncf", "openvino"),
        ("deepspeed", "deepspeed"),
        ("numpy", None),
        ("sigdca.nowhere", None),
        ("tor", None),
    ],
)
def test_extras_are_those_of_the_packages_own_metadata(module, extra):
    assert extra_of(module) == extra


def test_without_metadata_there_are_none(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert extra_of("torch") is None
