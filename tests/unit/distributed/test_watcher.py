"""What a study hears of its trials' processes: where they are, and that they are gone."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayError

from sigdca.distributed import watcher as module
from sigdca.distributed.watcher import Watcher
from sigdca.job import parse_job
from sigdca.search import TOO_LATE, Settings, Study, StudyFolder
from sigdca.storage import open_store

JOB = """
name: s
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: 0.9}}, encode]}
search: {space: {seed: {int: [1, 9]}}, num_trials: 9}
"""
PLACE = {"node": "n", "site": "public", "price": 2.0}
HOUR = 3600


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Answer(SimpleNamespace):
    """Of a process, which a test gives when it likes; None: not yet."""

    place = None


class Process:
    def __init__(self):
        self.answer = Answer()
        self.place = SimpleNamespace(remote=lambda: self.answer)


def get(answer):
    if isinstance(answer.place, RayError):
        raise answer.place
    return answer.place


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def study(tmp_path, clock):
    made = Study(parse_job(JOB, "s"), StudyFolder(open_store(str(tmp_path))), clock)
    made.begin(1, "sampler", {"seed": 1}, Settings())
    return made


@pytest.fixture
def watcher(study, monkeypatch):
    def wait(answers, timeout):
        return [answer for answer in answers if answer.place is not None], []

    monkeypatch.setattr(module, "ray", SimpleNamespace(wait=wait, get=get))
    monkeypatch.setattr(module, "slots", lambda *_: {})
    boards = SimpleNamespace(poll=lambda: None, ask=lambda *_: None, owes=lambda _: False)
    return Watcher(study, boards)


@pytest.fixture
def trial(watcher):
    """A trial that has a process."""
    found = SimpleNamespace(
        config={"number": 1},
        temporary_state=SimpleNamespace(ray_actor=Process()),
        run_metadata=SimpleNamespace(metric_analysis={}, metric_n_steps={}),
    )
    watcher.on_trial_start(1, [], found)
    return found


def says(trial, place=PLACE):
    trial.temporary_state.ray_actor.answer.place = place


def result(study, fidelity, done=False, failed=""):
    container = study.folder.store.child("shared").put(b"container")
    figures = {"accuracy_drop": 0.0, "error": 1.0, "container_bytes": 9.0}
    told = {"number": 1, "share": study.search.fidelities[fidelity], "figures": figures}
    told |= {"predicted": [], "container": container, "run": "r", "trial_s": HOUR / 2}
    return told | {"done": done, "failed": failed} | PLACE


def test_a_trial_costs_from_when_its_process_has_said_where_it_is(watcher, study, trial, clock):
    watcher.on_step_end(1, [])
    clock.now += HOUR
    assert study.spending.cost == 0
    says(trial)
    watcher.on_step_end(2, [])
    clock.now += HOUR
    assert study.spending.cost == 2.0


@pytest.mark.parametrize("lost", ["on_trial_recover", "on_trial_error"])
def test_a_lost_process_is_paid_for(watcher, study, trial, clock, lost):
    says(trial)
    watcher.on_step_end(1, [])
    clock.now += HOUR
    getattr(watcher, lost)(1, [], trial)
    clock.now += HOUR
    record = study.trial(1)
    assert (record.status, record.cost, record.node) == ("running", 2.0, "n")
    assert study.spending.cost == 2.0


def test_a_process_that_was_lost_at_once_costs_nothing(watcher, study, trial, clock):
    says(trial, RayError("gone"))
    watcher.on_step_end(1, [])
    watcher.on_trial_recover(1, [], trial)
    clock.now += HOUR
    assert (study.spending.cost, study.trial(1).cost) == (0, 0)


def test_a_result_comes_before_the_place(watcher, study, trial, clock):
    watcher.on_trial_result(1, [], trial, result(study, 2, done=True))
    says(trial)
    watcher.on_step_end(1, [])
    clock.now += HOUR
    assert study.trial(1).status == "done"
    assert study.spending.cost == study.trial(1).cost == 1.0


@pytest.mark.parametrize(
    ("end", "cost"), [({}, 3.0), ({"done": True}, 1.0), ({"done": True, "failed": "nan"}, 1.0)]
)
def test_the_next_fidelity_begins_with_the_result_of_one(watcher, study, trial, clock, end, cost):
    watcher.on_trial_result(1, [], trial, result(study, 1, **end))
    clock.now += HOUR
    assert study.spending.cost == cost


def test_a_trial_that_is_late_is_stopped_and_others_are_pruned(watcher, study, trial):
    watcher.on_trial_result(1, [], trial, result(study, 1, done=True))
    study.late.add(1)
    watcher.on_trial_complete(1, [], trial)
    assert (study.trial(1).status, study.trial(1).reason) == ("stopped", TOO_LATE)
    study.begin(1, "sampler", {"seed": 1}, Settings())
    watcher.on_trial_result(1, [], trial, result(study, 1, done=True))
    watcher.on_trial_complete(1, [], trial)
    assert study.trial(1).status == "pruned"
