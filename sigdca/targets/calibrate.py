"""Measuring a board's kernels on small networks, and fitting what their time grows with."""

from __future__ import annotations

import math
import os
import platform
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.codec.info import ContainerInfo, inspect_container
from sigdca.errors import TargetError
from sigdca.native import Model, Session
from sigdca.targets.calibration import MEMORY, WORK, Calibration, counts_of
from sigdca.targets.fit import fit_relative
from sigdca.targets.micro import micro_networks
from sigdca.targets.spec import Target
from sigdca.targets.work import Step, steps_of

ROUNDS, REPEATS = 20, 4  # all networks in turn; each a few times, once warm
LEAST_SEEN = 3  # networks that must have met a kernel
FOLDS = 8
PERCENTILES = (5, 95)
WEIGHTY = ("conv", "fc")

Tell = Callable[[str], None]


def calibrate(
    target: Target,
    profile: str = "exact",
    *,
    networks: Iterable[bytes] | None = None,
    rounds: int = ROUNDS,
    tell: Tell = lambda _line: None,
) -> Calibration:
    """Calibrates a target on this machine, which must be such a device.

    Args:
        target: what this machine is one of; its engine must be `native`.
        profile: of the library: `exact`, `fast` or `int8`.
        networks: containers to measure; None: `micro_networks()`.
        rounds: how often each takes its turn.
        tell: is given a line now and then.

    Raises:
        TargetError: this machine is not one, or nothing could be measured.
        NativeError: the library is missing, or refuses the profile.
    """
    why_not = target.why_not_here()
    if why_not is not None:
        raise TargetError(f"target '{target.name}': a board calibrates itself: {why_not}")
    if target.engine != "native":
        raise TargetError(f"target '{target.name}': calibrated for the engine native alone")
    tell("making the networks")
    containers = list(micro_networks() if networks is None else networks)
    sessions = [Session(Model(one), profile=profile) for one in containers]
    tell(f"measuring {len(sessions)} networks")
    times = measure([bound_to_noise(session) for session in sessions], rounds)
    cache = float(max(cpu.l2_bytes.value for cpu in target.cpu))
    isa = sessions[0].info.isa
    met = [
        _met(inspect_container(one), session, isa, cache)
        for one, session in zip(containers, sessions, strict=True)
    ]
    kept = _usable([_row(one) for one in met])
    fitted, errors = _fit([row for row in kept if row], times[[bool(row) for row in kept]])
    bandwidth = target.memory.bandwidth_bytes_per_s
    if not fitted.get(MEMORY) and bandwidth is not None:  # all of the networks fit into a cache
        fitted[MEMORY] = {"far_bytes": _rounded(1e6 / bandwidth.value)}
    ratios = np.percentile(1 / (1 + errors), PERCENTILES)
    return Calibration(
        target=target.name,
        processor=_processor(),
        platform=platform.platform(),
        version=_version(),
        isa=isa,
        profile=profile,
        cache_bytes=cache,
        num_networks=len(errors),
        median_error=round(float(np.median(np.abs(errors))), 4),
        band=(round(float(ratios[0]), 4), round(float(ratios[1]), 4)),
        microseconds=fitted,
        largest={name: most for name, most in _largest(met).items() if name in fitted},
    )


def bound_to_noise(session: Session) -> Callable[[], None]:
    """A call that runs a session on one image of noise, as `dca-run bench` does."""
    shape = (1, *session.model.info.input_shape)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return session.bind(image, np.empty((1, session.model.info.num_classes), np.float32))


def measure(calls: Sequence[Callable[[], None]], rounds: int) -> NDArray[np.float64]:
    """The shortest time of each, in microseconds.

    They take turns, so that what else is at work on the machine meets all of them alike. Of a run
    that lasts longer than the scheduler lets it, the thread's own time counts.
    """
    least = np.full(len(calls), np.inf)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            call()
            for _ in range(REPEATS):
                before, start = time.thread_time_ns(), time.perf_counter_ns()
                call()
                took = time.perf_counter_ns() - start
                own = time.thread_time_ns() - before
                least[number] = min(least[number], took / 1000, own / 1000)
    return least


_Row = dict[tuple[str, str], float]


def _met(
    info: ContainerInfo, session: Session, isa: str, cache: float
) -> list[tuple[str, tuple[str, ...], Step]]:
    """A network's steps with what `counts_of` says of each."""
    kernels = {layer.name: layer.kernel for layer in session.layers() if layer.kernel}
    steps = steps_of(info, isa, cache)
    return [(*counts_of(step, kernels.get(step.name)), step) for step in steps]


def _largest(met: list[list[tuple[str, tuple[str, ...], Step]]]) -> dict[str, float]:
    """The most work that the library gave each kernel."""
    most: dict[str, float] = {}
    for name, _, step in chain.from_iterable(met):
        if WORK in step.counts:
            most[name] = max(most.get(name, 0.0), step.counts[WORK])
    return most


def _row(met: list[tuple[str, tuple[str, ...], Step]]) -> _Row:
    """How much there is in a network of what each kernel's time grows with."""
    row: _Row = defaultdict(float)
    for name, counts, step in met:
        for count in counts:
            row[name, count] += step.counts.get(count, 0.0)
        if step.counts.get("far_bytes"):
            row[MEMORY, "far_bytes"] += step.counts["far_bytes"]
    return dict(row)


def _usable(rows: list[_Row]) -> list[_Row]:
    """Rows with a kernel that is hardly ever met become empty: nothing can be said of it."""
    seen = Counter(name for row in rows for name in {kernel for kernel, _ in row})
    rare = {name for name, number in seen.items() if number < min(LEAST_SEEN, len(rows))}
    return [{} if rare & {kernel for kernel, _ in row} else row for row in rows]


def _fit(
    rows: list[_Row], times: NDArray[np.float64]
) -> tuple[dict[str, dict[str, float]], NDArray[np.float64]]:
    """The coefficients, and the errors of folds that were left out one after the other."""
    if len(rows) < FOLDS:
        raise TargetError(f"calibration: {len(rows)} networks are too few to fit to")
    names = sorted({name for row in rows for name in row})
    counts = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    order = np.random.default_rng(0).permutation(len(rows))
    errors = np.empty(len(rows))
    for fold in range(FOLDS):
        left_out = order[fold::FOLDS]
        rest = np.setdiff1d(order, left_out)
        errors[left_out] = counts[left_out] @ fit_relative(counts[rest], times[rest])
    errors = np.maximum(errors / times, 1e-3) - 1
    fitted: dict[str, dict[str, float]] = {}
    for (kernel, count), each in zip(names, fit_relative(counts, times), strict=True):
        found = fitted.setdefault(kernel, {})
        if each > 0:
            found[count] = _rounded(float(each))
    return fitted, errors


def _rounded(value: float) -> float:
    """Four significant digits."""
    return round(value, 3 - math.floor(math.log10(value)))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} CPUs"


def _version() -> str:
    try:
        return version("sigdca")
    except PackageNotFoundError:
        return "unknown"
