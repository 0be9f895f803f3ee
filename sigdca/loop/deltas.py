"""What train legs of boards have sent: their deltas, each tried on the servers' test images."""

from __future__ import annotations

from collections.abc import Sequence

from sigdca.codec import decode_container
from sigdca.edge.delta import DeltaInfo, apply_delta, read_delta
from sigdca.edge.self_test import built_in_images
from sigdca.edge.sending import MAX_DELTA_BYTES
from sigdca.engines import NotFiniteError, container_engine, open_engine
from sigdca.errors import FormatError, JobError
from sigdca.job.budget import budget_lines
from sigdca.loop.arrivals import Arrivals
from sigdca.loop.cycles import CycleEnd
from sigdca.loop.edge import edge_tests
from sigdca.loop.points import Run
from sigdca.loop.release import Result
from sigdca.loop.run import Candidate, measured, package
from sigdca.loop.stages import retest_container


def best_of_deltas(run: Run, arrivals: Arrivals, names: Sequence[str], live: CycleEnd) -> Result:
    """Tries deltas on the live container, and tests the best result on all targets.

    The best is the one that meets the budget and whose board, on samples that it kept aside, saw
    the largest gain. The images stay on the boards: the servers see their own test images alone.

    Args:
        run: the cycle's; `live`'s container is among its artifacts.
        arrivals: where the deltas are.
        names: of their files.
        live: what they start from.

    Raises:
        JobError: none of them can be applied, or no board saw a gain.
        SigdcaError: a fault on the way.
    """
    base = run.artifacts.get(live.container)
    tried: list[tuple[bool, float, Candidate]] = []
    why = "none is left"
    for number, name in enumerate(names, 1):
        try:
            delta = arrivals.content(name, MAX_DELTA_BYTES)
            gain = _gain(read_delta(delta), name)
            container = apply_delta(base, delta)
            _check_finite(container)
            digest = run.artifacts.put(container)
            candidate = _candidate(run, number, digest, len(container), live)
        except NotFiniteError as error:
            why = f"{name}: {error}"
        except FormatError as error:
            why = str(error)
        else:
            tried.append((candidate.meets_budget, gain, candidate))
            continue
        run.progress.note(f"watch: left out: {why}")
    if not tried:
        raise JobError(f"deltas: {why}")
    _, _, best = max(tried, key=lambda one: one[:2])
    package(run, best)
    edge = edge_tests(run, best.iteration, run.job.targets, best.container)
    run.walk.end()
    best = measured(run.job, best, edge)
    return Result(live.weights, live.baseline_accuracy, best, best.lines, edge)


def _gain(info: DeltaInfo, name: str) -> float:
    """Percentage points that a board's own samples gained."""
    before, after = info.accuracy_before, info.accuracy_after
    if before is None or after is None or after <= before:
        raise FormatError(f"{name}: its board saw no gain")
    return after - before


def _check_finite(container: bytes) -> None:
    """Runs it on the images of the self-test, with which a release of it would be signed."""
    unpacked = decode_container(container)
    engine = open_engine(
        container_engine(), unpacked.graph, unpacked.tensors, threads=1, container=container
    )
    channels, height, width = unpacked.graph.input_shape
    engine.logits(built_in_images((channels, height, width)))


def _candidate(run: Run, number: int, digest: str, num_bytes: int, live: CycleEnd) -> Candidate:
    metrics = retest_container(run, number, digest).metrics
    figures = {
        "accuracy": metrics["accuracy"],
        "error": metrics["error"],
        "accuracy_drop": live.baseline_accuracy - metrics["accuracy"],
        "container_bytes": float(num_bytes),
        "compression_ratio": metrics["dense_bytes"] / num_bytes,
    }
    return Candidate(number, digest, figures, budget_lines(run.job, figures, {}))
