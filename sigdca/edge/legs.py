"""The test leg: a model on a target or its emulation, compared with the server's logits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sigdca.edge.processes import Outcome, RunnerError, run_processes
from sigdca.edge.runners import ON_DEVICES_ALONE, RUNNERS, Runner, runner_for
from sigdca.engines.agreement import (
    Comparison,
    Logits,
    check_logits,
    compare,
    evaluate,
    logits_sha256,
)
from sigdca.errors import EngineError, SigdcaError, TargetError
from sigdca.job.limits import Limits
from sigdca.targets import Emulator, Target, find_emulator

# The native engine's exact profile sums in one order on every instruction set: its bits are equal.
# Two other correct float32 engines differ by rounding alone: their sums run in another order, with
# or without fused multiply-add. A dot product of n terms is then off by about sqrt(n) * 2**-24 of
# its size: 1e-5 for VGG-16's 25,088 inputs. Ten times that leaves room for the layers; saturated
# int8 or a wrong kernel is a hundred times beyond it.
MAX_RELATIVE_DIFFERENCE = 1e-4
# Rounding flips an argmax only between two classes that the network itself holds for equal. One in
# 10,000 images moves the error by at most 0.01 points; of fewer images, none may flip.
MAX_FLIPPED_FRACTION = 1e-4
# Where an engine rounds to half precision, each layer's results are off by up to 2**-11 of their
# size; 1 % is some twenty of these, an estimate that no GPU was asked about. One flip in 1,000
# images moves the error by 0.1 points.
HALF = (1e-2, 1e-3)
_ROUNDING = {"tensorrt-fp16": HALF}
# The largest network takes minutes under emulation; this ends what hangs.
DEFAULT_TIMEOUT_S = 3600.0
REPEATS = 3  # legs whose latency counts
MAX_REPEATS = 8
OUTLIER = 1.5  # times the median: something else was at work on the board


Evidence = Literal["isa", "device"]


@dataclass(frozen=True)
class LegResult:
    """The verdict on one target, with its evidence.

    Attributes:
        target: the target's name.
        verdict: `exact` (every bit of every logit equal), `tolerance` (equal but for float32
            or half rounding, see `MAX_RELATIVE_DIFFERENCE`, `MAX_FLIPPED_FRACTION` and `HALF`), or
            `device-required` (only the device can tell).
        evidence: `device` (a board's own logits), `isa` (an emulation of its instruction set), or
            None where nothing was run to the end.
        reason: why this verdict, one line.
        emulated: whether an emulator stood in for the device.
        engine: what executed the model, with its version.
        emulator: what stood in for the target, with its version and CPU.
        num_samples: images tested.
        accuracy: percent right, on the target.
        error: percent wrong, on the target.
        logits_sha256: of the target's raw little-endian float32 logits, in the images' order.
        reference_logits_sha256: of the server's.
        max_abs_difference: the largest difference of two logits.
        argmax_flips: images whose largest logit is at another place.
        duration_s: how long the leg took here. Of an emulation that is no device's time.
        latency_us: median time of one image at batch 1; None unless a board itself took it.
        energy_mj: of one image at batch 1, the idle share taken off; None unless measured.
        power_mw: what the board took on the average while it computed image after image, the idle
            share with it; None unless measured.
        energy_note: what measured both, or why it could not; empty where nobody asked.
        memory_bytes: the most that the container and the native engine held at once, at batch 1 on
            one thread; an emulation's is the device's too. None of another engine.
        runtime: the target's side as it saw itself: versions, machine, vector extensions.
        node: the address of the cluster's node that ran it; None if it was this process's machine,
            or no cluster took part.
        log: the lines that the processes said on standard error, for the record alone: an emulator
            begins with a warning for each feature that it lacks.
        limits: which limits held and how; which did not, and why. A leg that ended early says it
            in its reason.
    """

    target: str
    verdict: Literal["exact", "tolerance", "device-required"]
    evidence: Evidence | None
    reason: str
    emulated: bool
    engine: str | None = None
    emulator: str | None = None
    num_samples: int | None = None
    accuracy: float | None = None
    error: float | None = None
    logits_sha256: str | None = None
    reference_logits_sha256: str | None = None
    max_abs_difference: float | None = None
    argmax_flips: int | None = None
    duration_s: float | None = None
    latency_us: float | None = None
    energy_mj: float | None = None
    power_mw: float | None = None
    energy_note: str = ""
    memory_bytes: int | None = None
    runtime: str = ""
    node: str | None = None
    log: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def run_test_leg(
    target: Target,
    model: bytes,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    *,
    reference_logits: Logits,
    emulated: bool,
    num_processes: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    limits: Limits | None = None,
    is_noise: bool = False,
) -> LegResult:
    """Tests a model on a target and compares it with the server.

    Whatever the target does - no emulator, a crash, no answer, wrong answers - becomes a verdict
    of `device-required` with its reason: a leg never ends the loop.

    Args:
        target: the target.
        model: a container if the target's engine is `native`, else an ONNX file as
            `sigdca.engines.to_onnx` makes it.
        images: uint8 [n, C, H, W], n >= 1.
        labels: whole numbers [n], uint8, int32 or int64.
        reference_logits: float32 [n, K], computed on the server by the same engine.
        emulated: run in the target's emulator; else this machine must be such a device itself.
        num_processes: over how many processes the images are split; the logits do not depend on
            it, but a latency is taken only of a single one.
        timeout_s: the leg is given up after this many seconds.
        limits: what it may use of this machine; where it says nothing, the target's own hold.
        is_noise: the images are random. Between classes that the network holds for equal there,
            no error is at stake: the difference of the logits alone decides.

    Raises:
        EngineError: the reference itself or the labels do not fit the images, a fault of the
            caller's.
    """
    reference = check_logits(reference_logits, len(images), "reference")
    evaluate(reference, labels)
    start = time.monotonic()
    try:
        emulator, runner = _place(target, emulated)
    except SigdcaError as error:
        return device_required(target, str(error))
    begun = replace(
        device_required(target, ""),
        emulated=emulated,
        engine=target.engine,
        emulator=str(emulator) if emulator else None,
        num_samples=len(images),
        reference_logits_sha256=logits_sha256(reference),
    )
    try:
        outcome = run_processes(
            runner,
            model,
            images,
            labels,
            emulator,
            num_processes,
            timeout_s,
            (limits or Limits()).over(target.limits),
        )
    except SigdcaError as error:
        log = error.log if isinstance(error, RunnerError) else ""
        elapsed = time.monotonic() - start
        return replace(begun, reason=str(error), duration_s=round(elapsed, 3), log=_lines(log))
    rounding = _ROUNDING.get(target.engine, (MAX_RELATIVE_DIFFERENCE, MAX_FLIPPED_FRACTION))
    if is_noise:
        rounding = (rounding[0], 1.0)
    return _judged(begun, outcome, reference, labels, time.monotonic() - start, rounding)


def median_of_legs(leg: Callable[[], LegResult]) -> LegResult:
    """Several legs in a row, for a latency that one disturbed leg does not decide.

    The first warms the board up and does not count. A latency more than `OUTLIER` times the median
    is an outlier: it is left out, and one more is taken, up to `MAX_REPEATS` in all.

    Args:
        leg: runs the leg once.

    Returns:
        The last leg's result with the median latency; the first result that has none, if there is
        such a one: it says why.
    """
    result = leg()
    times: list[float] = []
    kept: list[float] = []
    while result.latency_us is not None and len(kept) < REPEATS and len(times) < MAX_REPEATS:
        result = leg()
        if result.latency_us is None:
            return result
        times.append(result.latency_us)
        middle = statistics.median(times)
        kept = [took for took in times if took <= OUTLIER * middle]
    if result.latency_us is None:
        return result
    return replace(result, latency_us=statistics.median(kept))


def device_required(target: Target, reason: str) -> LegResult:
    """The verdict where nothing could be run: only the device can tell, and why."""
    return LegResult(target.name, "device-required", None, reason, emulated=False)


def without_a_leg(target: Target, node: Evidence | None) -> LegResult | None:
    """The verdict on a target whose engine no test leg could run; None if one could.

    Args:
        target: the target.
        node: what a node of the cluster gives, see `evidence_ahead`.
    """
    if target.engine in RUNNERS and (target.engine not in ON_DEVICES_ALONE or node == "device"):
        return None
    blocked = target.emulator.blocked_by if target.emulator is not None else ""
    why = blocked or f"its engine {target.engine} cannot be emulated"
    return device_required(target, f"target '{target.name}': {why}; run on the device")


def evidence_ahead(
    target: Target,
    node: Evidence | None,
    emulator: Callable[[Target], object] = find_emulator,
) -> tuple[Evidence | None, str]:
    """The best evidence that a leg could give of a target now.

    Args:
        target: the target.
        node: what a node of the cluster gives: `device` if it is such a board, `isa` if it
            emulates one; None: there is no such node.
        emulator: finds one where the leg would run, or raises TargetError.

    Returns:
        The evidence; or None and one line that says why there can be none.
    """
    cannot = without_a_leg(target, node)
    if cannot is not None:
        return None, cannot.reason
    if node is not None:
        return node, ""
    try:
        emulator(target)
    except TargetError as error:
        return None, str(error)
    return "isa", ""


def is_proven(verdict: str, evidence: str | None, required: Evidence | None) -> bool:
    """Whether a leg's verdict proves as much as is required of it."""
    return verdict != "device-required" and (required != "device" or evidence == "device")


def _lines(log: str) -> tuple[str, ...]:
    return tuple(line for line in log.splitlines() if line)


def _place(target: Target, emulated: bool) -> tuple[Emulator | None, Runner]:
    """Where the leg runs - an emulator, or None for this very machine - and what runs there."""
    emulator = find_emulator(target) if emulated else None
    if not emulated and (why := target.why_not_here()) is not None:
        raise TargetError(f"target '{target.name}': this machine is not one: {why}")
    return emulator, runner_for(target)


def _judged(
    begun: LegResult,
    outcome: Outcome,
    reference: Logits,
    labels: NDArray[np.integer],
    duration_s: float,
    rounding: tuple[float, float],
) -> LegResult:
    result = replace(
        begun,
        evidence="isa" if begun.emulated else "device",
        engine=outcome.engine,
        duration_s=round(duration_s, 3),
        runtime=outcome.runtime,
        log=_lines(outcome.log),
        limits=outcome.limits,
        memory_bytes=outcome.memory_bytes,
    )
    try:
        logits = check_logits(outcome.logits, len(labels), f"target '{begun.target}'")
        comparison = compare(logits, reference)
    except EngineError as error:
        return replace(result, reason=str(error))
    counts = evaluate(logits, labels)
    verdict, reason = _verdict(comparison, counts.num_samples, *rounding)
    return replace(
        result,
        verdict=verdict,
        reason=reason,
        accuracy=counts.accuracy,
        error=counts.error,
        logits_sha256=logits_sha256(logits),
        max_abs_difference=comparison.max_abs_difference,
        argmax_flips=comparison.argmax_flips,
        latency_us=None if begun.emulated else outcome.latency_us,
    )


def _verdict(
    comparison: Comparison, num_samples: int, max_difference: float, max_flipped: float
) -> tuple[Literal["exact", "tolerance", "device-required"], str]:
    if comparison.equal_bits:
        return "exact", f"all bits of the logits equal the server's on {num_samples} images"
    difference, scale = comparison.max_abs_difference, comparison.scale
    bound = max_difference * scale
    max_flips = int(max_flipped * num_samples)
    found = (
        f"logits differ from the server's by at most {difference:.2g} (bound {bound:.2g}), "
        f"{comparison.argmax_flips} of {num_samples} images change class (bound {max_flips})"
    )
    if difference <= bound and comparison.argmax_flips <= max_flips:
        return "tolerance", found
    return "device-required", f"beyond tolerance: {found}"
