"""What a study hears of its trials' processes: where they are, and that they are gone."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from sigdca.distributed import watcher as module
from sigdca.distributed.machine import MachineError
from sigdca.distributed.watcher import MAX_ROUNDS, Watcher
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
def told():
    return []


@pytest.fixture
def watcher(study, monkeypatch, told):
    def wait(answers, timeout):
        return [answer for answer in answers if answer.place is not None], []

    monkeypatch.setattr(module, "ray", SimpleNamespace(wait=wait, get=get))
    monkeypatch.setattr(module, "slots", lambda *_: {})
    monkeypatch.setattr(module, "held_by_others", dict)
    monkeypatch.setattr(module, "may_grow", lambda: False)
    boards = SimpleNamespace(poll=lambda: None, ask=lambda *_: None, owes=lambda _: False)
    made = Watcher(study, boards, told.append)
    monkeypatch.setattr(module, "LOOK_EVERY_S", -1.0)
    return made


@pytest.fixture
def trial(watcher):
    """A trial that has a process."""
    found = SimpleNamespace(
        config={"number": 1},
        temporary_state=SimpleNamespace(ray_actor=Process()),
        run_metadata=SimpleNamespace(metric_analysis={}, metric_n_steps={}),
        pickled_error_file=None,
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


@pytest.fixture
def nodes(monkeypatch):
    """Two servers."""
    found = {"n": "public", "other": "public"}

    def slots(_data, _gpus, shunned=(), held=()):
        left = [at for node, at in found.items() if node not in shunned and node not in held]
        return {site: left.count(site) for site in left}

    monkeypatch.setattr(module, "slots", slots)
    return found


def waiting(number, site, shunned=()):
    return SimpleNamespace(
        status="PENDING", config={"number": number, "site": site, "shunned": shunned}
    )


def test_trials_go_where_others_leave_room(watcher, study, nodes, monkeypatch):
    nodes["n"] = "private"
    monkeypatch.setattr(module, "held_by_others", lambda: {"n": {"CPU": 1.0}})
    assert watcher.choose_site(1)["site"] == "public"
    study.begin(2, "sampler", {"seed": 2}, Settings())
    assert watcher.choose_site(2)["site"] == "any", "all are full"
    assert watcher.most() == 2, "others may end"


def test_one_trial_more_where_servers_may_come(watcher, nodes, monkeypatch):
    monkeypatch.setattr(module, "may_grow", lambda: True)
    assert watcher.most() == 3


def test_a_trial_counts_where_it_runs_and_not_where_it_waited(watcher, study, trial, nodes):
    nodes["n"] = "private"
    assert watcher.choose_site(1)["site"] == "private"
    says(trial)
    watcher.on_step_end(1, [])
    assert watcher.choose_site(2)["site"] == "private", "it has got a place at a public one"


def test_a_round_ends_only_where_a_trial_waits_for_servers_that_are_gone(watcher, nodes):
    at_work = SimpleNamespace(status="RUNNING")
    for site, shunned, is_stuck in [
        ("public", (), False),
        ("private", (), True),
        ("any", (), False),
        ("public", ("n",), False),
        ("public", ("n", "other"), True),
        ("any", ("n",), False),
        ("any", ("n", "other"), True),
    ]:
        watcher.on_step_end(1, [waiting(1, site, shunned), at_work])
        assert watcher.is_stuck == is_stuck, (site, shunned)


def test_a_round_ends_where_all_wait_while_a_shunned_node_is_well_again(
    watcher, trial, nodes, tmp_path, monkeypatch
):
    work = SimpleNamespace(status="RUNNING")
    for shun_s, others, is_stuck in [(300.0, [], False), (-1.0, [work], False), (-1.0, [], True)]:
        monkeypatch.setattr(module, "SHUN_S", shun_s)
        faulty(trial, tmp_path)
        watcher.on_trial_recover(1, [], trial)
        watcher.on_step_end(1, [waiting(1, "any", ("n",)), *others])
        assert watcher.is_stuck == is_stuck, (shun_s, others)


def test_it_is_said_once_that_trials_wait_and_none_is_at_work(watcher, nodes, told, monkeypatch):
    trials = [waiting(2, "any"), waiting(1, "any")]
    watcher.on_step_end(1, trials)
    assert told == [], "it takes a while to start"
    monkeypatch.setattr(module, "WAIT_S", -1.0)
    at_work = SimpleNamespace(status="RUNNING")
    watcher.on_step_end(2, [*trials, at_work])
    assert told == []
    watcher.on_step_end(3, trials)
    watcher.on_step_end(4, trials)
    assert told == ["trial 1, 2: waits; no server has a CPU free for it"]


def faulty(trial, tmp_path, node="n"):
    """The trial after a fault of a machine, as Tune leaves it."""
    fault = MachineError(node, "10.0.0.3", "/nfs/flowers: no data set is there")
    error = RayTaskError("step", "a traceback", fault)
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    Path(trial.pickled_error_file).write_bytes(cloudpickle.dumps(error))


def test_a_node_whose_fault_ended_a_trial_is_shunned_for_a_while(
    watcher, trial, nodes, tmp_path, monkeypatch
):
    assert watcher.choose_site(2) == {"site": "public", "shunned": []}
    faulty(trial, tmp_path)
    watcher.on_trial_recover(1, [], trial)
    assert watcher.choose_site(2) == {"site": "public", "shunned": ["n"]}
    nodes["other"] = "private"
    faulty(trial, tmp_path, "other")
    watcher.on_trial_recover(1, [], trial)
    assert watcher.choose_site(2)["shunned"] == [], "all are as bad"
    nodes["third"] = "private"
    assert watcher.choose_site(2)["shunned"] == ["n", "other"]
    monkeypatch.setattr(module, "SHUN_S", -1.0)
    for node in ("n", "other"):
        faulty(trial, tmp_path, node)
        watcher.on_trial_recover(1, [], trial)
    assert watcher.choose_site(2)["shunned"] == []


def test_a_trial_that_no_machine_could_work_on_fails_and_says_why(
    watcher, study, trial, nodes, tmp_path
):
    faulty(trial, tmp_path)
    for _ in range(MAX_ROUNDS):
        watcher.on_trial_error(1, [], trial)
        assert study.trial(1).status == "running", "it is drawn again"
    watcher.on_trial_error(1, [], trial)
    assert study.trial(1).status == "failed"
    assert study.trial(1).reason == (
        "/nfs/flowers: no data set is there (on node 10.0.0.3); it was tried 16 times"
    )


def test_a_trial_whose_process_is_lost_again_and_again_fails(watcher, study, trial):
    for _ in range(MAX_ROUNDS + 1):
        watcher.on_trial_error(1, [], trial)
    assert study.trial(1).reason == "its process or node was lost 16 times"


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
