"""Which trial is chosen: by the budget first, then by what the budget leaves open."""

from __future__ import annotations

from collections.abc import Mapping

from sigdca.job import Job
from sigdca.job.budget import bounds_at, budget_lines, written
from sigdca.search.objectives import values_of
from sigdca.search.record import Rung, TrialRecord

OWN = ("accuracy_drop", "error", "container_bytes")  # of the budget: the container's own figures
EXCESS = "error_beyond_trial_1"
_SAME = {  # figures that one bound holds for
    "accuracy": "error",
    "accuracy_drop": "error",
    "compression_ratio": "container_bytes",
    "fps": "latency_us",
}


def counting_figures(job: Job) -> tuple[str, ...]:
    """The figures of a trial that objectives or the budget speak of."""
    objectives = job.search.objectives if job.search is not None else ()
    return tuple(dict.fromkeys((*OWN, *objectives, *asked_figures(job))))


def asked_targets(job: Job) -> tuple[str, ...]:
    """The targets that the search or the budget asks about."""
    return tuple(dict.fromkeys(name.partition("@")[2] for name in asked_figures(job)))


def asked_figures(job: Job) -> tuple[str, ...]:
    """The figures of targets that the search or the budget asks for, as figure@target."""
    objectives = job.search.objectives if job.search is not None else ()
    asked = (name for name in objectives if "@" in name)
    return tuple(dict.fromkeys((*asked, *bounds_at(job.budget, job.targets))))


def bound_names(job: Job) -> tuple[str, ...]:
    """What the budget bounds of a trial, as `missed_bounds` names it."""
    own = (name for name in OWN if getattr(job.budget, name) is not None)
    return (*own, *bounds_at(job.budget, job.targets))


def is_told(job: Job, figures: Mapping[str, float]) -> bool:
    """Whether each bound at a target has its figure; not if nobody has asked."""
    return all(name in figures for name in bounds_at(job.budget, job.targets))


def missed_bounds(job: Job, figures: Mapping[str, float]) -> dict[str, float]:
    """The budget's bounds that do not hold, by name -> by how much, relative to the bound.

    Predictions are taken for what boards would measure.
    """
    return {
        line.name: abs(line.value - line.bound) / max(abs(line.bound), 1.0)
        for line in budget_lines(job, figures, figures)
        if line.met is False and line.value is not None
    }


def bounds_error(job: Job) -> bool:
    """Whether the budget does; else the error of trial 1 is the bound."""
    return "error" in map(_same, bound_names(job))


def excess(figures: Mapping[str, float], error_bound: float | None) -> float:
    """How far an error is beyond that of trial 1, as a share of it, if that counts."""
    if error_bound is None:
        return 0.0
    return max(0.0, figures["error"] - error_bound - 1e-9) / max(error_bound, 1.0)


def violations(
    job: Job, figures: Mapping[str, float], error_bound: float | None
) -> dict[str, float]:
    """What a trial is held against, the same names for each of a job's: by how much it is missed.

    Args:
        job: whose budget bounds it.
        figures: the trial's.
        error_bound: trial 1's error, where the budget bounds none; None: it does, or trial 1 has
            not come to its end, and nothing is beyond it.
    """
    missed = missed_bounds(job, figures)
    found = {name: missed.get(name, 0.0) for name in bound_names(job)}
    return found if bounds_error(job) else found | {EXCESS: excess(figures, error_bound)}


def unverified(job: Job, full: Rung) -> tuple[str, ...]:
    """The budget's bounds that a trial meets by prediction alone: only a leg can tell."""
    return tuple(
        line.name
        for line in budget_lines(job, full.figures, full.figures)
        if line.met is None or (line.met and line.name in full.predicted)
    )


def mark(full: Rung, name: str) -> str:
    """What stands behind a trial's figure, so that none is taken for a board's."""
    return " (predicted)" if name in full.predicted else ""


class Choice:
    """Sorts the trials of a job's search."""

    def __init__(self, job: Job) -> None:
        """By its budget and objectives."""
        assert job.search is not None
        self._job, self._objectives = job, job.search.objectives
        self._bounded = {_same(name) for name in bound_names(job)}
        self.bounds_error = bounds_error(job)

    def unmet(self, full: Rung, error_bound: float | None) -> tuple[str, ...]:
        """What a trial misses, in words."""
        said = [
            f"{line.name} {written(line.value)}{mark(full, line.name)}, "
            f"bound {written(line.bound)}"
            for line in budget_lines(self._job, full.figures, full.figures)
            if line.met is False and line.value is not None
        ]
        if excess(full.figures, error_bound) > 0:
            said.append(f"error {full.figures['error']:g}, trial 1's {error_bound:g}")
        return tuple(said)

    def preference(self, record: TrialRecord, error_bound: float | None) -> tuple[float, ...]:
        """Sorts trials at full fidelity that have all objectives, best first.

        What is missed of the budget comes first, then an error beyond trial 1's. Of trials that
        miss nothing, the first is best in the objectives without a bound, in their order, then in
        an error that trial 1 alone bounds, then in bytes and error. Other objectives with a bound
        come last: there, every trial is as good as was asked.

        Args:
            record: the trial.
            error_bound: trial 1's error, where the budget bounds none; None: it does, or trial 1
                has not come to its end.
        """
        full = record.full
        assert full is not None
        figures = full.figures
        found = values_of(self._objectives, figures)
        assert found is not None
        values = dict(zip(self._objectives, found, strict=True))
        ranked = sorted(values, key=self._looseness)
        unbounded = not self.bounds_error and error_bound is None
        return (
            sum(full.missed.values()),
            excess(figures, error_bound),  # no bound that was written down gives way to this one
            figures["error"] if unbounded else 0.0,  # else the most ruined network is the smallest
            *(values[name] for name in ranked if self._looseness(name) < 2),
            figures["container_bytes"],
            figures["error"],
            *(values[name] for name in ranked if self._looseness(name) >= 2),
            record.number,
        )

    def _looseness(self, objective: str) -> int:
        what = _same(objective)
        if what in self._bounded:
            return 2
        return 1 if what == "error" else 0


def _same(name: str) -> str:
    figure, at, target = name.partition("@")
    return _SAME.get(figure, figure) + at + target
