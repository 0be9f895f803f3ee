"""Optuna by Tune's own OptunaSearch; its journal, which dashboards read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseGASampler
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from sigdca.search import (
    Origin,
    Point,
    Settings,
    Space,
    Study,
    TrialRecord,
    draw,
    settings_of,
    values_of,
    violations,
)

# A trial that did not come to full fidelity misses this by the share that it lacks, so that no
# sampler takes it for as good as one that did.
UNFINISHED = "unfinished"

Distributions = dict[str, optuna.distributions.BaseDistribution]

Site = Callable[[int], dict[str, Any]]
"""Where the trial of a number goes: its `site`, and the nodes that are `shunned`."""


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """The job's sampler. It knows the budget by the constraints that each trial comes with.

    A grid's points are all enqueued: nothing is drawn.
    """
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,  # parameters that exist together are modelled together
                constant_liar=True,  # trials at work count as bad, so that others go elsewhere
            )
        if name == "nsga2":
            return samplers.NSGAIISampler(seed=seed)
        if name == "nsga3":
            return samplers.NSGAIIISampler(seed=seed)
    return samplers.RandomSampler(seed=seed)


def constraints(study: Study, figures: Mapping[str, float], share: float) -> dict[str, float]:
    """What Optuna holds against a trial, by name: at most 0 where it holds."""
    return violations(study.job, figures, study.error_bound) | {UNFINISHED: 1.0 - share}


def open_optuna(study: Study, storage: optuna.storages.BaseStorage, space: Space) -> None:
    """Writes what a study knows into an empty storage: finished trials with their values.

    Those of another space are left out: the job was changed before --resume.
    """
    minimize, maximize = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    ways = study.search.objectives.values()
    directions = [minimize if way == "min" else maximize for way in ways]
    made = optuna.create_study(storage=storage, study_name=study.job.name, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made.set_metric_names(list(study.search.objectives))
    unfinished = {record.number for record in study.unfinished()}
    sampler, num_told = make_sampler(study.search.sampler, 0), 0
    for record in study.trials():
        known = distributions_of(space, record.point)
        is_same = known is not None and stands_for_the_same(space, record)
        if record.number not in unfinished and known is not None and is_same:
            past = _past(study, record, known, _generation(sampler, num_told))
            made.add_trial(past)
            num_told += past.state == optuna.trial.TrialState.COMPLETE


def _generation(sampler: optuna.samplers.BaseSampler, num_before: int) -> dict[str, int]:
    """What a genetic sampler notes of a trial; one without it is of no generation.

    Args:
        sampler: the study's.
        num_before: how many trials had come to their ends.
    """
    if not isinstance(sampler, BaseGASampler):
        return {}
    assert sampler.population_size is not None
    return {sampler._get_generation_key(): num_before // sampler.population_size}


def enqueue(told: optuna.Study, record: TrialRecord, point: Point, space: Space) -> None:
    """Has a trial that was drawn before drawn again.

    Where its point is of another space, it is drawn anew by the sampler, whoever gave the point.
    """
    origin: Origin = record.origin
    is_own = record.number == 1  # as the file has it now
    is_same = is_own or stands_for_the_same(space, record)
    if distributions_of(space, point) is None or not is_same:
        point, origin = {}, "sampler"
    told.enqueue_trial(point, user_attrs={"number": record.number, "origin": origin})


def stands_for_the_same(space: Space, record: TrialRecord) -> bool:
    """Whether a trial's point does to the job what it did when it was drawn.

    What a label stands for may have been edited since.
    """
    if not record.point or not record.values:
        return True
    try:
        now = settings_of(space, record.point)
    except (KeyError, ValueError, TypeError):
        return False
    return now.values == record.values and sorted(now.without) == sorted(record.without)


def distributions_of(space: Space, point: Point) -> Distributions | None:
    """What a point's parameters are drawn from; None if it is of another space."""
    found = _Distributions(point)
    try:
        if point:  # the job's own recipe may be none of the space
            draw(space, found)
        state = optuna.trial.TrialState.FAIL
        optuna.trial.create_trial(state=state, params=point, distributions=found.found)
    except (KeyError, ValueError, TypeError):  # a value is missing, one too many, or out of range
        return None
    return found.found


def _past(
    study: Study, record: TrialRecord, distributions: Distributions, generation: dict[str, int]
) -> FrozenTrial:
    last = record.last
    values = None
    if last is not None and record.status != "failed":
        values = values_of(study.search.objectives, last.figures)
    attributes: dict[str, Any] = {"number": record.number, "origin": record.origin}
    if last is None or values is None:
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL,
            params=record.point,
            distributions=distributions,
            user_attrs=attributes,
        )
    return optuna.trial.create_trial(
        values=[last.figures[name] for name in study.search.objectives],
        params=record.point,
        distributions=distributions,
        user_attrs=attributes,
        system_attrs=generation,
        constraints=constraints(study, last.figures, last.share),
    )


class _Distributions:
    """Gives a point's values, and notes from what they were drawn."""

    def __init__(self, point: Point) -> None:
        self.found: Distributions = {}
        self._point = point

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.found[name] = optuna.distributions.FloatDistribution(low, high, log=log, step=step)
        return float(self._point[name])

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.found[name] = optuna.distributions.IntDistribution(low, high)
        return int(self._point[name])

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.found[name] = optuna.distributions.CategoricalDistribution(choices)
        return self._point[name]


class Journal(JournalFileBackend):
    """Optuna's journal in a file, without a wait for the disk at each of a trial's ten lines.

    A study goes on from its own files: the journal is made anew from them, and need not outlive
    the machine.
    """

    def __init__(self, path: str) -> None:
        """In the file `path`."""
        self._path, self._alone = path, JournalFileSymlinkLock(path)
        super().__init__(path, self._alone)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes lines; a dashboard may do so too."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._alone.acquire()
        try:
            with open(self._path, "ab") as file:
                file.write(lines.encode())
        finally:
            self._alone.release()


class Unwritten:
    """Tune writes down all that it is given, to restore it some day; a study has its own files.

    Whoever watches a study cannot always be written: a live table has a lock.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class StudySearch(Unwritten, OptunaSearch):  # type: ignore[misc]  # Ray has no types
    """Tune's OptunaSearch; tells Optuna what of the budget is missed, and at which fidelity."""

    def __init__(
        self,
        study: Study,
        space: Space,
        storage: optuna.storages.BaseStorage,
        site: Site,
        in_space: bool,
    ) -> None:
        """Draws from the study's space.

        Args:
            study: the study.
            space: what is drawn from.
            storage: what `open_optuna` has filled.
            site: where the next trial goes.
            in_space: the job's own recipe is a point of the space.
        """
        search = study.search
        self._study, self._drawn_from = study, space
        self._site, self._in_space = site, in_space
        self._held: dict[str, tuple[int, dict[str, Any]]] = {}
        names, modes = list(search.objectives), list(search.objectives.values())
        seed = search.seed if search.seed is not None else study.job.seed
        past = len(study.trials())  # a study that goes on does not draw the same again
        several = len(names) > 1
        super().__init__(
            self._draw,
            metric=names if several else names[0],
            mode=modes if several else modes[0],
            sampler=make_sampler(search.sampler, seed + past),
            study_name=study.job.name,
            storage=storage,
        )

    def _draw(self, trial: Any) -> dict[str, Any]:
        """Draws one trial; gives its configuration for Tune."""
        origin = trial.user_attrs.get("origin", "sampler")
        number = trial.user_attrs.get("number") or self._study.newest + 1
        fixed = number == 1 and not self._in_space
        drawn = Settings() if fixed else draw(self._drawn_from, trial)
        point = {} if fixed else dict(trial.params)
        self._study.begin(number, origin, point, drawn)
        shares = [1.0] if origin == "job" else list(self._study.search.fidelities)
        return {
            "number": number,
            "origin": origin,
            "point": point,
            "shares": shares,
            **self._site(number),
        }

    def draw_again(self, record: TrialRecord) -> None:
        """Puts a trial whose node was lost before all others."""
        enqueue(self._ot_study, record, record.point, self._drawn_from)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A fidelity is done."""
        if not result.get("failed"):
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended: Optuna hears its constraints with its values, or that it failed.

        One that is lost has no constraints: anything but a failure would count as meeting them.
        """
        figures = trial_figures(result) if result else {}
        if result is None or not figures or result.get("failed"):
            super().on_trial_complete(trial_id, None, error=True)
            return
        if result["share"] == 1.0:
            self._held[trial_id] = (result["number"], result)
        else:
            self._tell(trial_id, result, figures)

    def release(self, owes: Callable[[int], bool]) -> None:
        """Tells Optuna of trials at full fidelity, but for those that a board is to measure."""
        for trial_id, (number, result) in list(self._held.items()):
            record = self._study.trial(number)
            full = record.full
            if full is None or owes(number):
                continue
            del self._held[trial_id]
            if record.status == "failed":  # a board has refused it
                super().on_trial_complete(trial_id, None, error=True)
            else:
                self._tell(trial_id, result | full.figures, full.figures)

    def _tell(self, trial_id: str, result: dict[str, Any], figures: Mapping[str, float]) -> None:
        for name, value in constraints(self._study, figures, result["share"]).items():
            self._ot_trials[trial_id].set_constraint(name, value)
        super().on_trial_complete(trial_id, result)

    def save(self, checkpoint_path: str) -> None:
        """Keeps nothing: a study goes on from its own files."""
        Path(checkpoint_path).touch()


def trial_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures in a result, which Tune has flattened."""
    prefix = "figures/"
    nested = result.get("figures")
    if nested is not None:
        return dict(nested)
    return {
        name.removeprefix(prefix): value
        for name, value in result.items()
        if name.startswith(prefix)
    }
