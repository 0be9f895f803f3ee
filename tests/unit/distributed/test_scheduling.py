"""Which trial goes on, and in which process: a controller like Tune's, a check of Tune's own."""

import inspect
import math
from types import SimpleNamespace

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils import flatten_dict

from sigdca.distributed import scheduling
from sigdca.distributed.scheduling import START_S, InOrder, let_start, make_scheduler
from sigdca.job import parse_job
from sigdca.search import Rung, Settings, Study, StudyFolder
from sigdca.storage import open_store

JOB = """
name: s
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: 0.9}}, encode]}
search:
  space: {seed: {int: [1, 9]}}
  objectives: {container_bytes: min}
  num_trials: 9
budget: {error: 1.0}
"""


class Controller:
    """Gives a free process to any trial that asks, as Tune does."""

    def __init__(self, placed=True, is_finished=False):
        self._trial_to_actor = {}
        self._search_alg = SimpleNamespace(is_finished=lambda: is_finished)
        self._actor_manager = SimpleNamespace(is_actor_started=lambda actor: placed)
        self.given = []

    def _maybe_reuse_cached_actor(self, trial):
        self.given.append(trial.trial_id)
        return True


class Trial(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=1000.0)
    monkeypatch.setattr(scheduling.time, "monotonic", lambda: now.time)
    return now


def test_a_free_process_is_not_given_to_a_trial_whose_own_is_starting(clock):
    controller = Controller()
    waiting, new = Trial(trial_id="waiting"), Trial(trial_id="new")
    controller._trial_to_actor[waiting] = "starting"
    let_start(controller)
    assert not controller._maybe_reuse_cached_actor(waiting)
    assert controller._maybe_reuse_cached_actor(new)
    clock.time += START_S - 1
    assert not controller._maybe_reuse_cached_actor(waiting)
    clock.time += 2
    assert controller._maybe_reuse_cached_actor(waiting), "it takes too long"
    assert controller.given == ["new", "waiting"]


def test_a_process_that_finds_no_place_is_not_waited_for(clock):
    controller = Controller(placed=False)
    waiting = Trial(trial_id="waiting")
    controller._trial_to_actor[waiting] = "nowhere"
    let_start(controller)
    assert not controller._maybe_reuse_cached_actor(waiting)
    clock.time += 2
    assert controller._maybe_reuse_cached_actor(waiting)


def test_at_the_end_any_free_process_will_do(clock):
    controller = Controller(is_finished=True)
    waiting = Trial(trial_id="waiting")
    controller._trial_to_actor[waiting] = "starting"
    let_start(controller)
    assert controller._maybe_reuse_cached_actor(waiting)


def test_tune_has_what_is_changed_here():
    source = inspect.getsource(TuneController)
    for name in ("_trial_to_actor", "_search_alg", "_actor_manager", "_maybe_reuse_cached_actor"):
        assert f"self.{name}" in source


@pytest.fixture
def make_study(tmp_path):
    def make(*settings):
        return Study(parse_job(JOB, "s", settings), StudyFolder(open_store(str(tmp_path))))

    return make


def figures(container_bytes, error):
    return {"container_bytes": container_bytes, "error": error, "accuracy_drop": 0.0}


def came_to(study, number, size, error, share=0.0):
    container = study.folder.store.child("shared").put(b"container")
    found = figures(size, error)
    rung = Rung(share=share, figures=found, container=container, run="r", duration_s=1.0)
    study.begin(number, "sampler", {}, Settings())
    study.add(number, rung, {"node": "n", "site": "private", "price": 0.0})


def goes_on(scheduler, number, fidelity, *values, trial_s=1.0):
    scheduler._study.begin(number, "sampler", {}, Settings())
    result = {"number": number, "fidelity": fidelity, "figures": figures(*values)}
    result["trial_s"] = trial_s
    return scheduler.on_trial_result(None, None, result) == TrialScheduler.CONTINUE


def ends(scheduler, number, share, *values, failed=""):
    """What Tune tells when a trial has ended, flattened as it does."""
    found = figures(*values) if values else {}
    result = {"number": number, "share": share, "failed": failed, "done": True}
    scheduler.on_trial_complete(None, None, flatten_dict(result | {"figures": found}))


def test_the_smallest_does_not_go_on_where_it_misses_the_budget(make_study):
    scheduler = make_scheduler(make_study())
    ends(scheduler, 1, 1.0, 900, 0.5)
    assert goes_on(scheduler, 2, 1, 1000, 0.9), "the first at this one"
    assert not goes_on(scheduler, 3, 1, 100, 90.0)
    assert goes_on(scheduler, 4, 1, 950, 0.9)
    assert not goes_on(scheduler, 5, 1, 1100, 0.9)


def test_an_error_beyond_trial_1s_counts_where_the_budget_bounds_none(make_study):
    study = make_study("budget={}")
    came_to(study, 1, 900, 1.0, share=1.0)
    scheduler = make_scheduler(study)
    assert goes_on(scheduler, 2, 1, 1000, 0.9), "the first at this one"
    assert not goes_on(scheduler, 3, 1, 100, 90.0)
    assert goes_on(scheduler, 4, 1, 950, 0.9)


def test_what_came_before_trial_1_is_held_against_it_then(make_study):
    study = make_study("budget={}")
    scheduler = make_scheduler(study)
    for number, size in ((2, 100), (3, 90), (4, 80)):
        assert goes_on(scheduler, number, 1, size, 90.0), "nothing better is known"
        came_to(study, number, size, 90.0)
    came_to(study, 1, 900, 1.0, share=1.0)
    assert goes_on(scheduler, 5, 1, 1000, 0.9), "larger than all of them"
    assert not goes_on(scheduler, 6, 1, 1100, 0.9), "those before have gone on all the same"


@pytest.mark.parametrize(("error", "follows"), [(0.9, False), (1.1, True)])
def test_what_met_the_budget_at_full_fidelity_counts_during_the_run(make_study, error, follows):
    scheduler = make_scheduler(make_study("search.fidelities=[0.1, 1.0]"))
    assert goes_on(scheduler, 1, 1, 900, 1.2)
    assert not goes_on(scheduler, 2, 1, 800, 1.3)
    ends(scheduler, 2, 0.1, 800, 1.3)
    ends(scheduler, 1, 1.0, 900, error)
    assert goes_on(scheduler, 3, 1, 500, 1.5) == follows, "it misses by more than twice as much"


@pytest.mark.parametrize("values", [(), (900, math.nan)], ids=["failed", "no number"])
def test_a_trial_that_ends_without_figures_is_no_example(make_study, values):
    scheduler = make_scheduler(make_study())
    ends(scheduler, 1, 1.0, *values, failed="the loss is nan")
    scheduler.on_trial_complete(None, None, {"trial_id": "lost before its first result"})
    assert goes_on(scheduler, 2, 1, 1000, 0.9)


def test_a_study_that_goes_on_knows_who_was_better(make_study):
    study = make_study()
    for number, size in ((1, 100), (2, 200)):
        came_to(study, number, size, 0.5)
    assert not goes_on(make_scheduler(make_study()), 3, 1, 300, 0.5)
    others = make_study("search.fidelities=[0.1, 1.0]")
    assert goes_on(make_scheduler(others), 3, 1, 300, 0.5), "nobody else came to these"


@pytest.mark.parametrize(("end", "follows"), [("failed", False), ("pruned", True)])
def test_one_that_went_on_and_failed_has_taken_its_place(make_study, end, follows):
    study = make_study("search.objectives={container_bytes: min, error: min}")
    for number, (size, error) in ((1, (100, 0.9)), (2, (200, 0.8))):
        came_to(study, number, size, error)
        study.end(number, end, "the loss is nan")
    assert goes_on(make_scheduler(study), 3, 1, 300, 0.7) == follows


def test_a_trial_that_looks_worse_goes_on_where_the_others_show_what_it_comes_to(make_study):
    """The lower its price on bits, the more a trial gains by all of its epochs."""
    study = make_study(
        "search.fidelities=[0.1, 1.0]",
        "search.keep=0.6",
        "search.objectives={error: min, container_bytes: min}",
        "search.space={compress.recipe.0.prune.sparsity: {uniform: [0.1, 0.9]}}",
        "budget={error: 1.6}",
    )
    scheduler = make_scheduler(study)

    def low(number, sparsity, size, error):
        point = {"compress.recipe.0.prune.sparsity": sparsity}
        study.begin(number, "sampler", point, Settings())
        result = {"number": number, "fidelity": 1, "figures": figures(size, error), "trial_s": 1.0}
        return scheduler.on_trial_result(None, None, result) == TrialScheduler.CONTINUE

    for number, sparsity in enumerate((0.9, 0.8, 0.7, 0.6, 0.5), 1):
        low(number, sparsity, 1000 - 100 * sparsity, 2.0)
        ends(scheduler, number, 1.0, 500 - 200 * sparsity, 0.5 + 1.5 * sparsity)
    assert low(6, 0.2, 1100, 2.1), "both figures are worse, and it comes to the least error"
    assert not low(7, 0.89, 890, 1.9), "both are better, and it comes to miss the budget"
    assert low(8, 0.3, 1090, 2.1)


def test_a_trial_of_another_space_is_no_example(make_study):
    objectives = "search.objectives={error: min, container_bytes: min}"
    before = "search.space={compress.recipe.0.prune.sparsity: {choice: [0.1, 0.9]}}"
    study = make_study("search.fidelities=[0.1, 1.0]", objectives, before)
    for number in range(1, 7):
        study.begin(number, "sampler", {"seed": 3}, Settings())
    scheduler = make_scheduler(study)
    assert goes_on(scheduler, 7, 1, 900, 0.9)
    assert scheduler._features(1, figures(1, 1)) == {}


@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_what_would_not_end_in_time_does_not_go_on(make_study, keep):
    epochs = "compress.recipe.0.prune.epochs=12"
    study = make_study("search.time_budget_s=1000", f"search.keep={keep}", epochs)
    scheduler = make_scheduler(study)
    assert goes_on(scheduler, 1, 2, 400, 0.5, trial_s=200)
    assert goes_on(scheduler, 2, 1, 300, 0.5, trial_s=5000), "without epochs it tells nothing"
    assert not goes_on(scheduler, 3, 2, 200, 0.5, trial_s=300)
    assert study.late == {3}
    assert goes_on(scheduler, 4, 2, 100, 0.5, trial_s=200)


def test_the_place_of_a_trial_that_is_too_late_is_anothers(make_study):
    epochs = "compress.recipe.0.prune.epochs=12"
    objectives = "search.objectives={container_bytes: min, error: min}"
    study = make_study("search.time_budget_s=1000", objectives, epochs)
    scheduler = make_scheduler(study)
    assert not goes_on(scheduler, 1, 2, 100, 0.9, trial_s=300)
    assert study.late == {1}
    assert goes_on(scheduler, 2, 2, 200, 0.5, trial_s=100), "half of two, and there is time"


@pytest.mark.parametrize("setting", ["search.fidelities=[1.0]", "search.keep=1.0"])
def test_without_a_choice_all_go_on(make_study, setting):
    assert type(make_scheduler(make_study(setting))) is InOrder
