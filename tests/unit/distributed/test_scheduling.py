"""Which process a trial runs in: a controller like Tune's, and a check of Tune's own."""

import inspect
from types import SimpleNamespace

import pytest
from ray.tune.execution.tune_controller import TuneController

from sigdca.distributed import scheduling
from sigdca.distributed.scheduling import START_S, let_start


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
