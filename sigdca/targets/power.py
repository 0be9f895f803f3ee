"""Energy of inferences, by whatever meter a board has (`meters`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sigdca.targets.meters import Meter, UnavailableError


@dataclass(frozen=True)
class Energy:
    """What inferences took.

    Attributes:
        energy_mj: millijoules of one inference, the idle share taken off.
        gross_energy_mj: the same with it.
        idle_mw: what the board takes when nothing runs.
        active_mw: what it took meanwhile.
        num_inferences: how many there were.
        duration_s: how long they took.
        meter: what measured it.
    """

    energy_mj: float
    gross_energy_mj: float
    idle_mw: float
    active_mw: float
    num_inferences: int
    duration_s: float
    meter: str


def measure_energy(meter: Meter, work: Callable[[], int], idle_s: float = 5.0) -> Energy:
    """Energy of inferences: first of the idle board, then of the board at work.

    Args:
        meter: what measures.
        work: runs inferences for some seconds; returns how many.
        idle_s: how long the idle board is measured.

    Raises:
        UnavailableError: the meter fails, or the work does not rise above idle.
    """
    meter.start()
    start = time.monotonic()
    time.sleep(idle_s)
    duration_s = time.monotonic() - start
    idle_mw = meter.stop() / duration_s
    meter.start()
    start = time.monotonic()
    count = work()
    duration_s = time.monotonic() - start
    spent_mj = meter.stop()
    net_mj = spent_mj - idle_mw * duration_s
    if net_mj <= 0:
        raise UnavailableError(
            f"power: {meter.name}: {spent_mj / duration_s:.0f} mW at work is not above the "
            f"{idle_mw:.0f} mW before it; was the board idle then?"
        )
    return Energy(
        energy_mj=net_mj / count,
        gross_energy_mj=spent_mj / count,
        idle_mw=idle_mw,
        active_mw=spent_mj / duration_s,
        num_inferences=count,
        duration_s=duration_s,
        meter=meter.name,
    )
