"""Targets: one TOML file per kind of device, and the emulators that stand in for them."""

from sigdca.targets.calibration import Calibration, calibration_of, load_calibration
from sigdca.targets.emulate import Emulator, check_emulator, find_emulator
from sigdca.targets.predict import Prediction, StepTime, predict
from sigdca.targets.probe import Finding, probe
from sigdca.targets.spec import Target, load_target, target_names, this_board

__all__ = [
    "Calibration",
    "Emulator",
    "Finding",
    "Prediction",
    "StepTime",
    "Target",
    "calibration_of",
    "check_emulator",
    "find_emulator",
    "load_calibration",
    "load_target",
    "predict",
    "probe",
    "target_names",
    "this_board",
]
