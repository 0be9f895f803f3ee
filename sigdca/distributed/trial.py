"""A trial on its node: a Tune trainable whose every step is the job's run at one fidelity."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray import tune

from sigdca.codec import inspect_container
from sigdca.distributed.machine import MachineError, machine_fault, one_line
from sigdca.distributed.sites import here
from sigdca.job import Job
from sigdca.job.budget import figures_at
from sigdca.loop import LocalExecutor, run_job
from sigdca.loop.dataset import placed
from sigdca.loop.network import initial_model, state_of
from sigdca.search import (
    DENSE,
    SHARED,
    Point,
    Space,
    StudyFolder,
    asked_figures,
    asked_targets,
    job_of,
    trial_job,
)
from sigdca.storage import Record, Store
from sigdca.targets import Target, calibration_of, load_target, predict
from sigdca.targets.calibration import Calibration
from sigdca.targets.memory import memory_bytes


def device_here() -> str:
    """Where this process computes: on a GPU if Ray has given it one, or a share of one.

    The machine may have some that are not this process's; or none, whatever Ray was told.
    """
    has_one = ray.is_initialized() and ray.get_gpu_ids() and torch.cuda.is_available()
    return "cuda" if has_one else "cpu"


class Silent:
    """Nobody watches."""

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """See `sigdca.loop.Progress`."""

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`."""

    def note(self, line: str) -> None:
        """See `sigdca.loop.Progress`."""

    def end(self, record: Record, reused: bool) -> None:
        """See `sigdca.loop.Progress`."""


def run_trial(spec: TrialSpec, number: int, point: Point, share: float) -> dict[str, Any]:
    """One trial at one fidelity, in this process.

    Returns:
        `figures`, `predicted` (names of figures that no device measured), `container` (sha256),
        `run` (folder), `failed` (empty).

    Raises:
        SigdcaError: the trial cannot be run, or diverged.
    """
    folder = StudyFolder(spec.store)
    name = folder.run_name(number, share)
    # Without a point it is the job's own recipe, which need not lie in the space.
    job = job_of(spec.job, spec.space, point, f"trial {number}:") if point else spec.job
    run_name = f"{spec.job.name[:85]}-{name.rpartition('/')[2]}"
    store, shared = spec.store.child(name), spec.store.child(SHARED)
    outcome = run_job(
        trial_job(job, run_name, share),
        LocalExecutor(device_here()),
        store,
        Silent(),
        "retest",
        shared,
        spec.begin(),
    )
    assert outcome.best is not None
    of_targets = predicted_figures(spec.asked, shared.get(outcome.best.container))
    return {
        "figures": dict(outcome.best.figures) | of_targets,
        "predicted": list(of_targets),
        "container": outcome.best.container,
        "run": name,
        "failed": "",
    }


@dataclass(frozen=True)
class AskedTarget:
    """A target that the search or the budget asks about.

    Attributes:
        target: what it is.
        calibration: what such a board has measured of its kernels, if any has.
        memory: whether its memory is asked for.
    """

    target: Target
    calibration: Calibration | None
    memory: bool


Asked = Mapping[str, AskedTarget]
"""By the job's names for them."""


def asked_of(job: Job) -> Asked:
    """Those of a job, and their calibrations, from this machine's files."""
    figures = asked_figures(job)
    return {
        name: AskedTarget(
            load_target(name), calibration_of(name), f"memory_bytes@{name}" in figures
        )
        for name in asked_targets(job)
    }


def predicted_figures(asked: Asked, container: bytes) -> dict[str, float]:
    """What the container would do on each target that is asked about."""
    info = inspect_container(container) if asked else None
    figures: dict[str, float] = {}
    for name, about in asked.items():
        assert info is not None
        found = predict(about.target, info, about.calibration)
        power = about.target.power
        told = {
            "latency_us": found.latency_us,
            "energy_mj": found.energy_mj,
            "power_mw": None if power is None else power.max_mw.value,
            "memory_bytes": memory_bytes(about.target, container) if about.memory else None,
        }
        figures |= figures_at(name, told)
    return figures


Work = Callable[["TrialSpec", int, Point, float], dict[str, Any]]


@dataclass(frozen=True)
class TrialSpec:
    """What all trials of a study have in common.

    Attributes:
        job: the job with its search; its paths are the same from any working directory.
        space: the space that is drawn from.
        store: the study's folder.
        work: runs a trial, given this, its number, its point and the share of the epochs.
        asked: the targets whose figures are predicted.
        initial: Ray's reference to the job's weights, if it has some: their file may lie on the
            machine of the search alone.
    """

    job: Job
    space: Space
    store: Store
    work: Work = run_trial
    asked: Asked = field(default_factory=dict)
    initial: Any = None

    def begin(self) -> dict[str, np.ndarray] | None:
        """The weights to begin with; None: those that the job's seed gives."""
        if self.initial is None:
            return None
        state: dict[str, np.ndarray] = ray.get(self.initial)
        return state


def spec_of(job: Job, store: Store) -> TrialSpec:
    """What a study's trials have in common, with all that only this machine can look up.

    Args:
        job: the job with its search.
        store: the study's folder.
    """
    assert job.search is not None
    changes: dict[str, Any] = {"data": placed(job.data)}
    initial = None
    if job.weights is not None:
        changes["weights"] = str(Path(job.weights).absolute())
        initial = ray.put(state_of(initial_model(job)))
    placed_job, space = job.model_copy(update=changes), job.search.space
    return TrialSpec(placed_job, space, store, asked=asked_of(job), initial=initial)


class TrialRunner(tune.Trainable):  # type: ignore[misc]  # Ray has no types
    """Runs trials one after the other in one process, which keeps what it has imported.

    A fault of the trial itself - a loss that is no number, values that do not go together - is its
    result: it would come again. A lost process or node, and a fault of the machine, is Tune's to
    retry.
    """

    def setup(self, config: dict[str, Any], spec: TrialSpec | None = None) -> None:
        """Takes the first trial."""
        assert spec is not None
        self._spec = spec
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next trial."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._number, self._point = int(config["number"]), dict(config["point"])
        self._shares, self._done = list(config["shares"]), 0

    def place(self) -> dict[str, Any]:
        """Where this process is, and what that costs; it answers before its first step."""
        assert self._spec.job.search is not None
        return asdict(here(self._spec.job.search.prices))

    def step(self) -> dict[str, Any]:
        """One fidelity."""
        share = self._shares[self._done]
        self._done += 1
        assert self._spec.job.search is not None
        all_shares = self._spec.job.search.fidelities
        place, start = self.place(), time.monotonic()
        try:
            result = self._spec.work(self._spec, self._number, self._point, share)
        except Exception as error:  # whatever else it is, it is this trial's, and is told
            if reason := machine_fault(error, self._spec.job.data):
                address = ray.util.get_node_ip_address()
                raise MachineError(place["node"], address, reason) from error
            result = {"failed": one_line(error), "figures": {}, "done": True}
        last = self._done == len(self._shares) or bool(result["failed"])
        figures = result["figures"]
        return {
            **result,
            **figures,
            **place,
            "number": self._number,
            "share": share,
            "fidelity": all_shares.index(share) + 1,
            "trial_s": time.monotonic() - start,
            "done": last,
        }


def run_dense(spec: TrialSpec) -> dict[str, Any]:
    """TRAIN and TEST before the first trial; each trial finds them done.

    Returns:
        The test point's figures, and the `artifact` with the weights.
    """
    job = trial_job(spec.job, f"{spec.job.name[:85]}-{DENSE}", 1.0)
    store, shared = spec.store.child(DENSE), spec.store.child(SHARED)
    outcome = run_job(
        job, LocalExecutor(device_here()), store, Silent(), "test", shared, spec.begin()
    )
    names = ("accuracy", "error", "num_samples", "dense_bytes", "num_parameters")
    figures = {name: outcome.baseline.metrics[name] for name in names}
    return figures | {"artifact": outcome.weights}
