"""RELEASE: whether a cycle's container is accepted; signed and published for its targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sigdca.edge.bundle import get_bundle
from sigdca.edge.keys import load_private_key
from sigdca.edge.legs import is_proven
from sigdca.edge.signing import sign_container
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Job, Watch
from sigdca.job.budget import BudgetLine, written
from sigdca.loop.run import Candidate, Outcome
from sigdca.storage import Record, Releases, open_store
from sigdca.targets import load_target

NO_VERDICT = "no target's verdict allows it"


@dataclass(frozen=True)
class Result:
    """What a cycle has come to.

    Attributes:
        weights: sha256 of the uncompressed weights.
        baseline_accuracy: of these, percent.
        best: the container.
        lines: the bounds that count for it.
        edge: the test points of the targets.
    """

    weights: str
    baseline_accuracy: float
    best: Candidate
    lines: Sequence[BudgetLine]
    edge: Sequence[Record]

    @classmethod
    def of(cls, outcome: Outcome) -> Result:
        """That of a whole run: its network must be accurate enough before it is compressed."""
        best, accuracy = outcome.best, outcome.baseline.metrics["accuracy"]
        assert best is not None
        lines = [*([] if outcome.accuracy is None else [outcome.accuracy]), *best.lines]
        return cls(outcome.weights, accuracy, best, lines, outcome.edge)


def why_not(job: Job, result: Result, live_error: float | None) -> str:
    """Why a cycle's container is not accepted; empty if it is.

    Args:
        job: of the cycle.
        result: of the cycle.
        live_error: what the live container's error is on the same images, which the new one's must
            not exceed; None: it may be any that the budget allows.
    """
    missed = [
        f"{line.name}: bound {written(line.bound)}, got {written(line.value)}"
        for line in result.lines
        if line.met is False and line.value is not None
    ]
    if missed:
        return f"budget not met: {'; '.join(missed)}"
    error = result.best.figures["error"]
    if live_error is not None and error > live_error:
        return f"no better: error {error:.2f} %, of the live one {live_error:.2f} %"
    if job.targets and not proven_targets(job, result.edge):
        verdicts = [f"{one.label}: {one.metrics.get('verdict')}" for one in result.edge]
        return f"{NO_VERDICT}: {'; '.join(verdicts)}"
    return ""


def proven_targets(job: Job, edge: Sequence[Record]) -> tuple[str, ...]:
    """The targets whose EDGE TEST allows a release."""
    required = job.edge_test.require
    return tuple(
        load_target(record.label).name
        for record in edge
        if is_proven(record.metrics["verdict"], record.metrics["evidence"], required)
    )


def publish_container(container: bytes, watch: Watch, model: str, targets: Sequence[str]) -> int:
    """Signs a container as the next version of its channel, and publishes it.

    Done again, it finds that the channel is there already, and changes nothing.

    Args:
        container: the content of a `.dca` file.
        watch: with `releases` and `key`.
        model: its name, for people.
        targets: whom it is for.

    Returns:
        The version.

    Raises:
        JobError: `releases` or `key` is missing.
        SigdcaError: it cannot be signed or published; the old release stays.
    """
    if watch.releases is None or watch.key is None:
        raise JobError("watch: releases or key is missing: nothing can be released")
    key = load_private_key(Path(watch.key))
    releases = Releases(open_store(watch.releases))
    latest = releases.latest(watch.channel)
    if latest is not None and set(latest.targets) == set(targets):
        try:
            before = get_bundle(releases.fetch(latest), [key.public_key()])
        except SigdcaError:
            before = None  # signed by another key, or lost
        if before is not None and before.container == container:
            return latest.version
    version = 1 if latest is None else latest.version + 1
    bundle = sign_container(
        container,
        key=key,
        version=version,
        channel=watch.channel,
        targets=targets,
        model=model,
    )
    releases.publish(bundle, channel=watch.channel, version=version, targets=tuple(targets))
    return version
