"""What a target needs of memory, as far as this machine can tell."""

import pytest

from sigdca.native import Model, Session, isas
from sigdca.targets import load_target
from sigdca.targets import memory as module
from sigdca.targets.memory import memory_bytes
from tests.bright import model


def needed(isa):
    opened = Model(model())
    return len(model()) + opened.info.memory_bytes + Session(opened, isa=isa).info.peak_bytes


@pytest.mark.skipif("sse4.2" not in isas(), reason="this processor has no SSE4.2")
def test_the_targets_own_instruction_set_chooses_the_layouts():
    assert memory_bytes(load_target("atom-x5-e3940"), model()) == needed("sse4.2")


@pytest.mark.parametrize(
    ("target", "here", "stands_in"),
    [
        ("jetson-tx2-cpu", ("avx512", "avx2", "sse4.2", "reference"), "sse4.2"),
        ("jetson-tx2-cpu", ("neon", "reference"), "neon"),
        ("atom-x5-e3940", ("neon", "reference"), "neon"),
        ("x86-64-v4", ("avx2", "sse4.2", "reference"), "avx2"),
    ],
)
def test_vectors_as_wide_or_nearly_stand_in_for_a_lacking_instruction_set(
    monkeypatch, target, here, stands_in
):
    monkeypatch.setattr(module, "isas", lambda: here)
    assert module._nearest(load_target(target)) == stands_in


def test_of_another_engine_nothing_is_known():
    assert memory_bytes(load_target("jetson-tx2"), model()) is None
