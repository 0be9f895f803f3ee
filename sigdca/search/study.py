"""A study as it goes: what was tried, what is best, what is on the front, and when it ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from sigdca.errors import JobError
from sigdca.job import Job, dump_job, with_values
from sigdca.job.budget import check_accuracy
from sigdca.search.choice import Choice, asked_figures, is_told, missed_bounds, unverified
from sigdca.search.objectives import Values, dominates, hypervolume, values_of
from sigdca.search.record import (
    FrontRecord,
    Origin,
    Proof,
    Rung,
    Status,
    StudyFolder,
    StudyRecord,
    StudyStatus,
    TrialRecord,
)
from sigdca.search.resuming import check_resumed
from sigdca.search.space import Point, Settings
from sigdca.search.spending import Clock, Spending, Where

MOST_WORK = 10_000  # slices of a hypervolume; beyond, it would take longer than a trial
FINISHED = ("done", "pruned", "failed")
SPENT = {"node", "site", "price", "cost", "duration_s"}  # of a trial, however often it is drawn
OnChange = Callable[["Study", TrialRecord], None]
Predicted = Callable[[str], Mapping[str, float]]


class Study:
    """All trials of a study. When a call returns, what it changed is in the trial's file."""

    def __init__(self, job: Job, folder: StudyFolder, now: Clock = time.time) -> None:
        """Goes on from what the folder holds.

        Args:
            job: the job, with its search.
            folder: where the study lies.
            now: seconds since 1970.

        Raises:
            JobError: its trials are another job's, or it holds a run. The search, the budget, and
                where it all runs may be other ones than before.
        """
        assert job.search is not None
        self.job, self.search, self.folder = job, job.search, folder
        self.stop: str | None = None
        self.watchers: list[OnChange] = []
        self.losses: Counter[int] = Counter()  # of nodes, by trial, since this start
        self.late: set[int] = set()  # trials that may not go on: too little time is left
        self._took: dict[tuple[int, float], float] = {}  # by trial and share, when drawn before
        self._now = now
        before = folder.study()
        if before is not None:
            check_resumed(before, job, folder.store.path("study.json"))
        elif folder.holds_run:
            raise JobError(
                f"{folder.store.root}: holds a run, and no study to go on with; leave out "
                "--resume, or give the job another name"
            )
        self._trials = {record.number: self._judged(record) for record in folder.trials()}
        elapsed_s = before.elapsed_s if before is not None else 0.0
        cost = sum(record.cost for record in self._trials.values())
        self.spending = Spending(job.search, elapsed_s, cost, now)
        self.baseline = dict(before.baseline) if before is not None else {}
        self.network = before.network if before is not None else ""
        # Of thousands of trials, none of these may be looked for anew at each change.
        self._counts = Counter(record.status for record in self._trials.values())
        self._open = {n for n, record in self._trials.items() if record.status not in FINISHED}
        self._newest = max(self._trials, default=0)
        self._front: list[tuple[Values, TrialRecord]] = []
        self._choice = Choice(job)
        self._chosen: TrialRecord | None = None
        self._text = dump_job(job)
        self._volume: float | None = None
        self._has_changed = self._has_moved = True  # front.json; what is published
        for record in self.trials():
            self._consider(record)

    def _judged(self, record: TrialRecord) -> TrialRecord:
        """A trial by the job's budget, which may be another one than before."""
        rungs = tuple(
            rung.model_copy(update={"missed": missed_bounds(self.job, rung.figures)})
            for rung in record.rungs
        )
        judged = record.model_copy(update={"rungs": rungs})
        if judged != record:
            self.folder.write_trial(judged)
        return judged

    def complete(self, predicted: Predicted) -> None:
        """Adds figures that nobody asked for before: the job has another budget or objectives.

        Args:
            predicted: gives figures of the asked targets, by a container's sha256.
        """
        names = asked_figures(self.job)
        for number, record in self._trials.items():
            rungs = tuple(
                rung
                if all(name in rung.figures for name in names)
                else self._completed(rung, predicted(rung.container))
                for rung in record.rungs
            )
            if rungs != record.rungs:
                self._trials[number] = record.model_copy(update={"rungs": rungs})
                self.folder.write_trial(self._trials[number])
        self._forget()

    def _completed(self, rung: Rung, figures: Mapping[str, float]) -> Rung:
        new = [name for name in figures if name not in rung.figures]
        merged = dict(figures) | rung.figures
        return rung.model_copy(
            update={
                "figures": merged,
                "predicted": (*rung.predicted, *new),
                "missed": missed_bounds(self.job, merged),
            }
        )

    def trials(self) -> list[TrialRecord]:
        """All trials, by number."""
        return sorted(self._trials.values(), key=lambda record: record.number)

    def trial(self, number: int) -> TrialRecord:
        """One of them."""
        return self._trials[number]

    def unfinished(self) -> list[TrialRecord]:
        """Those that were cut off: they run again, before any new one; not those that are late."""
        return [self._trials[number] for number in sorted(self._open - self.late)]

    def running(self) -> list[TrialRecord]:
        """Those without an end: at work, or waiting to be so again."""
        found = (self._trials[number] for number in sorted(self._open))
        return [record for record in found if record.status == "running"]

    @property
    def newest(self) -> int:
        """The number of the trial that was drawn last; 0 before the first."""
        return self._newest

    def begin(self, number: int, origin: Origin, point: Point, settings: Settings) -> None:
        """A trial is drawn, or drawn again: what it has cost stays."""
        before = self._trials.get(number)
        spent = before.model_dump(include=SPENT) if before is not None else {}
        if before is not None and before.point == point:
            self._took |= {(number, rung.share): rung.duration_s for rung in before.rungs}
        self.late.discard(number)
        self._put(
            TrialRecord(
                number=number,
                origin=origin,
                point=point,
                values=settings.values,
                without=tuple(settings.without),
                started=self._now(),
                **spent,
            )
        )

    def add(self, number: int, rung: Rung, where: Where, ends: bool = False) -> None:
        """A trial has come to the end of a fidelity; one that did so before is replaced.

        Args:
            number: which trial.
            rung: what it gave.
            where: it was at work.
            ends: the trial is done with it.
        """
        record = self._trials[number]
        took_s = self._longest(number, rung.share, rung.duration_s)
        rungs = [known for known in record.rungs if known.share != rung.share]
        rungs.append(rung.model_copy(update={"duration_s": took_s}))
        rungs.sort(key=lambda known: known.share)
        changes = {"rungs": tuple(rungs)} | self.spending.pay(record, rung.duration_s, where)
        if ends:
            changes |= {"status": "done", "ended": self._now()}
        self._put(record.model_copy(update=changes))

    def fail(self, number: int, reason: str, duration_s: float, where: Where) -> None:
        """A trial has failed; what it took is paid for all the same.

        Args:
            number: which trial.
            reason: one line.
            duration_s: how long its last fidelity took.
            where: it was at work.
        """
        record = self._trials[number]
        changes = {"status": "failed", "reason": reason, "ended": self._now()}
        spent = self.spending.pay(record, duration_s, where)
        self._put(record.model_copy(update=changes | spent))

    def cut_off(self, number: int) -> None:
        """A trial's process is gone; it may run again, but what it took is paid for."""
        spent = self.spending.cut_off(self._trials[number])
        if spent:
            self._put(self._trials[number].model_copy(update=spent))

    def measured(self, number: int, figures: Mapping[str, float]) -> None:
        """A board has measured a trial's container: figures that were predicted no longer are."""
        record = self._trials[number]
        last = record.rungs[-1]
        predicted = tuple(name for name in last.predicted if name not in figures)
        merged = dict(last.figures) | dict(figures)
        for name, value in figures.items():  # energy is power times time: time alone may be new
            figure, _, target = name.partition("@")
            energy = f"energy_mj@{target}"
            if figure == "latency_us" and energy in merged and energy not in figures:
                merged[energy] *= value / last.figures[name]
        rung = last.model_copy(
            update={
                "figures": merged,
                "predicted": predicted,
                "missed": missed_bounds(self.job, merged),
            }
        )
        self._forget(number)
        self._put(record.model_copy(update={"rungs": (*record.rungs[:-1], rung)}))

    def proven(self, number: int, proofs: Mapping[str, Proof]) -> None:
        """These are what targets have said of a trial's container; the next `save` tells of it."""
        record = self._trials[number]
        rung = record.rungs[-1].model_copy(update={"proofs": dict(proofs)})
        record = record.model_copy(update={"rungs": (*record.rungs[:-1], rung)})
        self.folder.write_trial(record)
        self._trials[number] = record
        self._consider(record)

    def refuse(self, number: int, reason: str) -> None:
        """A leg has proven a trial's container wrong: it has failed, whatever its figures."""
        record = self._trials[number]
        if record.status == "failed":
            return
        changes = {"status": "failed", "reason": reason, "ended": record.ended or self._now()}
        self._forget(number)
        self._put(record.model_copy(update=changes))

    def end(self, number: int, status: Status, reason: str = "") -> None:
        """A trial has ended, at work or not."""
        record = self._trials[number]
        changes = {"status": status, "reason": reason, "ended": self._now()}
        self._put(record.model_copy(update=changes | self.spending.cut_off(record)))

    def has_time(self, number: int, fidelity: int, duration_s: float) -> bool:
        """Whether the time left is enough for a trial's next fidelity.

        Args:
            number: which trial.
            fidelity: that it has come to, from 0.
            duration_s: how long that took just now.
        """
        record = self._trials[number]
        job = with_values(self.job, record.values, f"trial {number}:", record.without)
        took_s = self._longest(number, self.search.fidelities[fidelity], duration_s)
        return self.spending.has_time(job, fidelity, took_s)

    def _longest(self, number: int, share: float, duration_s: float) -> float:
        """How long a fidelity takes: one that was drawn before may find it done in a second."""
        return max(duration_s, self._took.get((number, share), 0.0))

    def why_over(self) -> str | None:
        """What ends the study now; None: it goes on."""
        return self.stop or self.spending.why_over()

    @property
    def chosen(self) -> TrialRecord | None:
        """The best trial at full fidelity; see `Choice.preference`."""
        return self._chosen

    @property
    def error_bound(self) -> float | None:
        """Trial 1's error, where the budget bounds none: a search never ends worse."""
        first = self._trials.get(1)
        own = first.full if first is not None and not self._choice.bounds_error else None
        return own.figures["error"] if own is not None else None

    @property
    def inaccuracy(self) -> str:
        """That TRAIN has not reached `train.accuracy_at_least`; empty: it has, or nobody asked."""
        accuracy = self.baseline.get("accuracy")
        line = check_accuracy(self.job.train, accuracy) if accuracy is not None else None
        return "" if line is None or line.met else f"accuracy {accuracy:g} %, {line.note}"

    def unmet(self, full: Rung) -> tuple[str, ...]:
        """The bounds that a trial misses, `error_bound` included, in words."""
        return self._choice.unmet(full, self.error_bound)

    def front(self) -> list[TrialRecord]:
        """The trials that no other dominates, in the order of the first objective."""
        return [record for _, record in sorted(self._front, key=lambda entry: entry[0])]

    def shown(self) -> list[TrialRecord]:
        """The front, and the best trial too where the budget bounds what is no objective."""
        front, best = self.front(), self._chosen
        missing = best is not None and all(record.number != best.number for record in front)
        return [*front, best] if best is not None and missing else front

    def save(self, status: StudyStatus, why: str = "") -> StudyRecord:
        """Writes `study.json` and `front.json`, and the containers where others are best now."""
        if self._has_moved:
            self.publish()
        if self._has_changed:
            front = FrontRecord(
                objectives=dict(self.search.objectives), trials=tuple(self.front())
            )
            self.folder.write_front(front)
            self._volume, self._has_changed = self._hypervolume(), False
        full = self._chosen.full if self._chosen is not None else None
        unmet = [line for line in (self.inaccuracy,) if line]
        unmet += self.unmet(full) if full is not None else ()
        record = StudyRecord(
            name=self.job.name,
            job=self._text,
            status=status,
            why=why,
            elapsed_s=round(self.spending.elapsed_s, 3),
            cost=self.spending.cost,
            num_trials={status: n for status, n in sorted(self._counts.items()) if n},
            chosen=self._chosen.number if self._chosen is not None else None,
            meets_budget=full is not None and not unmet,
            unmet=tuple(unmet),
            unverified=unverified(self.job, full) if full is not None else (),
            error_bound=self.error_bound,
            baseline=self.baseline,
            network=self.network,
            hypervolume=self._volume,
        )
        self.folder.write_study(record)
        return record

    def _put(self, record: TrialRecord) -> None:
        known = self._trials.get(record.number)
        if known is not None:
            self._counts[known.status] -= 1
        self._counts[record.status] += 1
        (self._open.discard if record.status in FINISHED else self._open.add)(record.number)
        self._newest = max(self._newest, record.number)
        self._trials[record.number] = record
        if record.number == 1:  # hypervolume and choice are against it
            self._forget(1)
        self.folder.write_trial(record)
        self._consider(record)
        if record.rungs or record.status != "running":  # one that is drawn says so in its own file
            self.save("running")
        for watcher in self.watchers:  # what they tell is on disk
            watcher(self, record)

    def publish(self) -> None:
        """Puts the best container, and those of the front, where people look for them."""
        rungs = {f"{record.number:04d}.dca": record.full for record in self.front()}
        front = {name: rung for name, rung in rungs.items() if rung is not None}
        self.folder.publish(self._chosen.full if self._chosen is not None else None, front)
        self._has_moved = False

    def _consider(self, record: TrialRecord) -> None:
        """Whether a trial is on the front, or the best."""
        full = record.full
        if full is None or record.status == "failed":
            return
        values = values_of(self.search.objectives, full.figures)
        if values is None or not is_told(self.job, full.figures):
            return
        others = [entry for entry in self._front if entry[1].number != record.number]
        if not any(
            dominates(known, values) or (known == values and self._is_better(found, record))
            for known, found in others
        ):
            others = [
                entry for entry in others if entry[0] != values and not dominates(values, entry[0])
            ]
            self._front = [*others, (values, record)]
            self._has_changed = self._has_moved = True
        best = self._chosen
        if best is None or best.number == record.number or self._is_better(record, best):
            self._chosen, self._has_moved = record, True

    def _is_better(self, one: TrialRecord, other: TrialRecord) -> bool:
        prefer, bound = self._choice.preference, self.error_bound
        return prefer(one, bound) < prefer(other, bound)

    def _forget(self, number: int | None = None) -> None:
        """Figures change: the front and the best are found anew, without the trial whose do."""
        self._front, self._chosen = [], None
        self._has_changed = self._has_moved = True
        for record in self.trials():
            if record.number != number:
                self._consider(record)

    def _hypervolume(self) -> float | None:
        first = self._trials.get(1)
        own = first.full if first is not None else None
        if own is None or any(way != "min" for way in self.search.objectives.values()):
            return None
        reference = values_of(self.search.objectives, own.figures)
        if reference is None or min(reference) <= 0:
            return None
        if len(self._front) ** (len(reference) - 1) > MOST_WORK:
            return None
        # Twice as bad as the job's own recipe in each objective: what is beyond counts nothing.
        scaled = [
            tuple(value / (2 * most) for value, most in zip(values, reference, strict=True))
            for values, _ in self._front
        ]
        return hypervolume(scaled, (1.0,) * len(reference))
