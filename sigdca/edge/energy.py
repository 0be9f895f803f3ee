"""Energy and power of inferences, as part of a test leg: the engine in this process, its meter."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.legs import LegResult
from sigdca.edge.ready import Ready
from sigdca.edge.runner import ENGINES
from sigdca.edge.runners import ON_DEVICES_ALONE
from sigdca.errors import SigdcaError
from sigdca.targets import Target
from sigdca.targets.meters import METER_VARIABLE, UnavailableError, find_meter
from sigdca.targets.power import measure_energy

IDLE_S = 5.0
WORK_S = 10.0


def with_energy(
    result: LegResult, target: Target, model: bytes, images: NDArray[np.uint8]
) -> LegResult:
    """A leg's result with energy and power of its inferences, or with why they were not measured.

    The model runs in the leg's own profile, on one thread. A leg without a latency is left as it
    is: it did not run here, or not rightly.

    Args:
        result: of the leg.
        target: what this machine is.
        model: as the leg had it.
        images: uint8 [n, C, H, W], n >= 1; they run again and again.
    """
    if result.latency_us is None or result.verdict == "device-required":
        return result
    try:
        meter = find_meter(os.environ.get(METER_VARIABLE, "auto"))
        with tempfile.TemporaryDirectory(prefix="sigdca-energy-") as folder:
            call = _opened(target, model, images, Path(folder))
            found = measure_energy(meter, lambda: _for_a_while(call), IDLE_S)
    except SigdcaError as error:
        return replace(result, energy_note=str(error))
    note = f"{found.meter}, {found.num_inferences} inferences, idle {found.idle_mw:.0f} mW"
    return replace(result, energy_mj=found.energy_mj, power_mw=found.active_mw, energy_note=note)


def _opened(
    target: Target, model: bytes, images: NDArray[np.uint8], folder: Path
) -> Callable[[], object]:
    """What computes one image; it has done so already."""
    if target.engine == "native":
        ready = Ready(model, "exact", 1, 0, target.name)
        np.copyto(ready.pixels, images[:1])
        return ready.call
    if target.engine in ON_DEVICES_ALONE:
        raise UnavailableError(f"power: the engine {target.engine} runs in no process of ours")
    path = folder / "model"
    path.write_bytes(model)
    engine = ENGINES[target.engine.partition("-")[0]](str(path), 1, images.shape[1:])
    engine.logits(images[:1])
    return lambda: engine.logits(images[:1])


def _for_a_while(call: Callable[[], object]) -> int:
    count, end = 0, time.monotonic() + WORK_S
    while time.monotonic() < end:
        call()
        count += 1
    return count
