"""What a study has spent of its time and money, work that is under way included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sigdca.job import Job, Search
from sigdca.search.record import TrialRecord
from sigdca.search.space import trial_job

TOO_LATE = "time_budget_s: what is left is too short for the next fidelity"

Clock = Callable[[], float]
Where = Mapping[str, Any]
"""Where a trial is at work: `node`, `site` and `price`."""


class Spending:
    """The two budgets of a study: seconds, over all its starts, and what its trials cost."""

    def __init__(self, search: Search, elapsed_s: float, cost: float, now: Clock) -> None:
        """Goes on counting.

        Args:
            search: holds the limits.
            elapsed_s: how long the study ran before this start.
            cost: what its trials have cost so far.
            now: seconds since 1970.
        """
        self._search, self._now, self._started = search, now, now()
        self._elapsed_before, self._paid = elapsed_s, cost
        self._at_work: dict[int, tuple[float, Where]] = {}  # trial -> since when, and where
        self._ended: float | None = None

    def end(self) -> None:
        """The trials are over: what follows is not of the budget."""
        self._ended = self._now()

    @property
    def elapsed_s(self) -> float:
        """How long the study has run, over all its starts."""
        now = self._now() if self._ended is None else self._ended
        return self._elapsed_before + now - self._started

    @property
    def cost(self) -> float:
        """What the trials have cost, those at work up to now."""
        now = self._now()
        return self._paid + sum(
            _charge(now - since, where) for since, where in self._at_work.values()
        )

    def start(self, number: int, where: Where) -> None:
        """A trial begins with a fidelity."""
        self._at_work[number] = self._now(), where

    def pay(self, record: TrialRecord, duration_s: float, where: Where) -> dict[str, Any]:
        """A trial has been at work; gives what changes of its record."""
        self._at_work.pop(record.number, None)
        cost = _charge(duration_s, where)
        self._paid += cost
        duration_s = round(record.duration_s + duration_s, 3)
        return {"cost": record.cost + cost, "duration_s": duration_s, **where}

    def cut_off(self, record: TrialRecord) -> dict[str, Any]:
        """A trial is not at work any more, if it was; gives what changes of its record."""
        if record.number not in self._at_work:
            return {}
        since, where = self._at_work[record.number]
        return self.pay(record, self._now() - since, where)

    def why_over(self) -> str | None:
        """Which budget is spent; None: neither."""
        limit = self._search.time_budget_s
        if limit is not None and self.elapsed_s >= limit:
            return f"time_budget_s: {limit:g} s are over"
        most, cost = self._search.cost, self.cost
        if most is not None and cost >= most:
            return f"cost: {cost:.4g} of {most:g} are spent"
        return None

    def has_time(self, job: Job, fidelity: int, duration_s: float) -> bool:
        """Whether the time left is enough for a trial's next fidelity, by the epochs of both.

        Without epochs a fidelity tells nothing of the next one, which then may begin; with as many
        the next one is the same work, and is found done.

        Args:
            job: the job with the trial's values.
            fidelity: that the trial has come to, from 0.
            duration_s: how long that took.
        """
        limit, shares = self._search.time_budget_s, self._search.fidelities
        if limit is None:
            return True
        done, more = (_num_epochs(job, share) for share in shares[fidelity : fidelity + 2])
        return done in (0, more) or self.elapsed_s + duration_s * more / done <= limit


def _num_epochs(job: Job, share: float) -> int:
    """How many epochs a trial trains at a fidelity, over all passes."""
    compress = trial_job(job, job.name, share).compress
    assert compress is not None
    return sum(getattr(step.config, "epochs", 0) for step in compress.recipe)


def _charge(duration_s: float, where: Where) -> float:
    return float(where["price"]) * duration_s / 3600
