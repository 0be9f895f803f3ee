"""Which trial runs next and in which process, and which goes on to the next fidelity."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sigdca.distributed.searcher import (
    Unwritten,
    distributions_of,
    stands_for_the_same,
    trial_figures,
)
from sigdca.search import (
    LEAST,
    Forecast,
    Known,
    Outcome,
    Promotion,
    Study,
    counting_figures,
    features_of,
    values_of,
    violations,
)

PLACE_S = 1.0  # in which a new process finds its place, if there is one
START_S = 30.0  # in which it starts: it imports torch


class InOrder(Unwritten, FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Trials in the order in which they were drawn, each in the process made for it, if any.

    They go on while there is time.
    """

    def __init__(self, study: Study) -> None:
        """Knows no trials yet."""
        super().__init__()
        self._study, self._lets_start = study, False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether there is time for a trial's next fidelity."""
        number = result["number"]
        if self._study.has_time(number, result["fidelity"] - 1, result["trial_s"]):
            return str(TrialScheduler.CONTINUE)
        self._study.late.add(number)
        return str(TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The oldest that waits; of all trials, only a few are live."""
        if not self._lets_start:
            let_start(tune_controller._tune_controller)
            self._lets_start = True
        live = tune_controller.get_live_trials()
        return min((t for t in live if t.status == Trial.PENDING), key=_drawn, default=None)


def _drawn(trial: Trial) -> int:
    return int(trial.config["number"])


def let_start(controller: Any) -> None:
    """Has Tune leave a process that is starting to the trial that it is made for.

    Tune gives a process that becomes free to a trial that waits for its own, and ends the new one.
    Where a trial takes less time than a process's start, all trials then run in one process, and
    the other cores do nothing but start processes in vain.

    Args:
        controller: Tune's own, before it has started anything.
    """
    reuse = controller._maybe_reuse_cached_actor
    made: dict[str, tuple[Any, float]] = {}  # of trials that wait: the process and when

    def unless_starting(trial: Trial) -> bool:
        actor = controller._trial_to_actor.get(trial)
        if actor is not None and not controller._search_alg.is_finished():
            known, since = made.setdefault(trial.trial_id, (actor, time.monotonic()))
            placed = controller._actor_manager.is_actor_started(actor)
            if known is actor and time.monotonic() - since < (START_S if placed else PLACE_S):
                return False
        made.pop(trial.trial_id, None)
        return bool(reuse(trial))

    controller._maybe_reuse_cached_actor = unless_starting


class ParetoScheduler(InOrder):
    """Lets those go on that will be the best at full fidelity, as far as that can be told.

    Until it can, those that are the best at theirs: ASHA where one objective rules, the same by
    Pareto fronts where several do. Tune's own knows one figure and no budget, and has rungs that
    are not the job's fidelities.
    """

    def __init__(self, study: Study) -> None:
        """Knows what the study's trials gave so far."""
        super().__init__(study)
        self._counting = counting_figures(study.job)
        self._figures: list[dict[int, dict[str, float]]] = [{} for _ in study.search.fidelities]
        self._promotion = self._so_far()

    def _so_far(self, before: Promotion | None = None) -> Promotion:
        """What the trials gave, by trial 1's error if it counts; who went on is known before."""
        search = self._study.search
        self._error_bound = self._study.error_bound
        found = Promotion(len(search.fidelities), search.keep)
        for record in self._study.trials():
            known = (rung for rung in record.rungs if rung.share in search.fidelities)
            for rung in known:  # others are of before --resume
                fidelity = search.fidelities.index(rung.share)
                failed = record.status == "failed" and rung is record.last
                went_on = before is not None and before.has_gone_on(record.number, fidelity)
                self._note(found, record.number, fidelity, rung.figures, failed or went_on)
        return found

    def _note(
        self,
        promotion: Promotion,
        number: int,
        fidelity: int,
        figures: Mapping[str, float],
        went_on: bool = False,
    ) -> bool:
        values = values_of(self._study.search.objectives, figures)
        if values is None:
            return False
        promotion.add(number, fidelity, *self._outcome(figures), went_on=went_on)
        if all(name in figures for name in self._counting):
            self._figures[fidelity][number] = {name: figures[name] for name in self._counting}
        return True

    def _outcome(self, figures: Mapping[str, float]) -> Outcome:
        values = values_of(self._study.search.objectives, figures)
        assert values is not None
        missed = violations(self._study.job, figures, self._error_bound)
        return sum(missed.values()), values

    def _expected(self, fidelity: int) -> dict[int, Outcome] | None:
        """What those at a fidelity come to in the end; None where that cannot be told yet."""
        low, full = self._figures[fidelity], self._figures[-1]
        numbers = self._promotion.numbers(fidelity)
        features = {number: self._features(number, low.get(number)) for number in numbers}
        features = {number: found for number, found in features.items() if found}
        known = [
            Known(found, low[number], full[number])
            for number, found in features.items()
            if number in full
        ]
        if len(known) < LEAST:
            return None
        forecast = Forecast(known)
        return {
            number: self._outcome(full.get(number) or forecast.figures(found, low[number]))
            for number, found in features.items()
        }

    def _features(self, number: int, low: Mapping[str, float] | None) -> dict[str, float]:
        """What a forecast of a trial goes by; nothing if it is of another space, from before."""
        record, space = self._study.trial(number), self._study.search.space
        is_of = distributions_of(space, record.point) is not None
        if low is None or not is_of or not stands_for_the_same(space, record):
            return {}
        return features_of(space, record.point, low)

    def _add(self, number: int, fidelity: int, figures: Mapping[str, float]) -> bool:
        if self._study.error_bound != self._error_bound:  # those before were held against none
            self._promotion = self._so_far(self._promotion)
        return self._note(self._promotion, number, fidelity, figures)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial is good enough for the next fidelity, and there is time."""
        number, fidelity = result["number"], result["fidelity"] - 1
        if not self._add(number, fidelity, trial_figures(result)):
            return str(TrialScheduler.STOP)
        if not self._promotion.goes_on(number, fidelity, self._expected(fidelity)):
            return str(TrialScheduler.STOP)
        answer = super().on_trial_result(tune_controller, trial, result)
        if answer == TrialScheduler.STOP:
            self._promotion.stays(number, fidelity)
        return answer

    def on_trial_complete(
        self, tune_controller: Any, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Notes what a trial gave at full fidelity: of a last result Tune tells only here."""
        if result.get("share") == 1.0:  # else it is noted, or has given nothing yet
            last = len(self._study.search.fidelities) - 1
            self._add(result["number"], last, trial_figures(result))


def make_scheduler(study: Study) -> TrialScheduler:
    """One that lets the best go on, where there is something to go on to and some do not."""
    if len(study.search.fidelities) == 1 or study.search.keep == 1.0:
        return InOrder(study)
    return ParetoScheduler(study)
