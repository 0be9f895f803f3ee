"""Targets: one TOML file per kind of device, and the emulators that stand in for them."""

from sigdca.targets.emulate import Emulator, check_emulator, find_emulator
from sigdca.targets.predict import Prediction, predict
from sigdca.targets.probe import Finding, probe
from sigdca.targets.spec import Target, load_target, target_names

__all__ = [
    "Emulator",
    "Finding",
    "Prediction",
    "Target",
    "check_emulator",
    "find_emulator",
    "load_target",
    "predict",
    "probe",
    "target_names",
]
