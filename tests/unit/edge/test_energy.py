"""The energy that a test leg measures, by a meter that is known."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from sigdca.edge import energy as module
from sigdca.edge.energy import with_energy
from sigdca.edge.legs import device_required
from sigdca.targets import load_target
from tests.bright import model, samples

ATOM = load_target("atom-x5-e3940")
TENSORRT = ATOM.model_copy(update={"engine": "tensorrt"})
LEG = replace(device_required(ATOM, ""), verdict="exact", latency_us=20.0)


class Meter:
    """An idle board takes 1,000 mW, one at work 3,500."""

    name = "known"

    def __init__(self):
        self.powers, self.took_s = iter((1000.0, 3500.0)), 0.0

    def start(self):
        self.began = time.monotonic()

    def stop(self):
        self.took_s = time.monotonic() - self.began
        return next(self.powers) * self.took_s


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    monkeypatch.setattr(module, "WORK_S", 0.3)


@pytest.fixture
def meters(monkeypatch):
    """Which were asked for, and each of them."""
    asked = {}

    def find(name):
        return asked.setdefault(name, Meter())

    monkeypatch.setattr(module, "find_meter", find)
    return asked


def test_the_idle_share_is_taken_off(meters, monkeypatch):
    monkeypatch.setenv("SIGDCA_METER", "ina3221")
    found = with_energy(LEG, ATOM, model(), samples(4)[0])
    told = re.fullmatch(r"known, (\d+) inferences, idle \d+ mW", found.energy_note)
    work_s = meters["ina3221"].took_s
    assert found.energy_mj * int(told[1]) == pytest.approx(2500 * work_s, rel=0.1)
    assert found.power_mw == pytest.approx(3500, rel=0.1), "as a board's supply must give it"
    assert replace(found, energy_mj=None, power_mw=None, energy_note="") == LEG


def test_another_engine_runs_in_the_leg_itself(meters, tmp_path):
    from sigdca.codec import decode_container
    from sigdca.engines import to_onnx

    container = decode_container(model())
    target = ATOM.model_copy(update={"engine": "onnxruntime"})
    onnx = to_onnx(container.graph, container.tensors)
    found = with_energy(LEG, target, onnx, samples(4)[0])
    assert found.energy_mj > 0


def test_an_engine_that_no_process_of_ours_has(meters):
    found = with_energy(LEG, TENSORRT, b"", np.zeros((1, 1, 6, 6), "u1"))
    assert found.energy_mj is None
    assert found.energy_note.startswith("power: the engine tensorrt")


def test_without_a_meter_it_says_why(monkeypatch):
    monkeypatch.setenv("SIGDCA_METER", "file:/none")
    found = with_energy(LEG, ATOM, model(), samples(4)[0])
    assert (found.energy_mj, found.energy_note) == (None, "power: /none: is not there")


def test_a_leg_that_failed_is_left_as_it_is(meters):
    for leg in (replace(LEG, latency_us=None), replace(LEG, verdict="device-required")):
        assert with_energy(leg, ATOM, model(), samples(4)[0]) is leg
    assert meters == {}
