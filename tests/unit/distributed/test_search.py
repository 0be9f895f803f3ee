"""What ends a search from outside, and what is run when it goes on."""

import os
import signal
import time
from types import SimpleNamespace

import optuna
import pytest

from sigdca.distributed import search
from sigdca.distributed.search import (
    INTERRUPTED,
    _enqueue,
    _num_trials,
    _signals,
    _StoppedError,
    _todo,
    search_on_cluster,
)
from sigdca.distributed.searcher import open_optuna
from sigdca.distributed.trial import TrialSpec, spec_of
from sigdca.errors import EngineError, JobError, SigdcaError
from sigdca.job import parse_job
from sigdca.search import TOO_LATE, Rung, Settings, Study, StudyFolder, grid, own_point
from sigdca.storage import open_store

BITS = "compress.recipe.1.share.bits"
GRID = f"""
name: s
model: lenet-300-100
data: {{source: mnist}}
train: {{}}
compress: {{recipe: [{{prune: {{sparsity: 0.9}}}}, {{share: {{bits: 4}}}}, encode]}}
search:
  sampler: grid
  space: {{{BITS}: {{int: [4, 6]}}}}
"""


def signalled_twice(study, number):
    with _signals(study):
        assert study.stop is None
        os.kill(os.getpid(), number)
        assert study.stop == INTERRUPTED
        os.kill(os.getpid(), number)
        time.sleep(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_with_the_best_so_far_a_second_one_at_once(number):
    before = signal.signal(number, signal.default_int_handler)
    study = SimpleNamespace(stop=None)
    try:
        with pytest.raises(KeyboardInterrupt):
            signalled_twice(study, number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def enqueued(study):
    """What a grid has run: how many trials, and the number, origin and value of each."""
    space, storage = study.search.space, optuna.storages.InMemoryStorage()
    own = own_point(study.job, space)
    first = [("sampler", point) for point in grid(space, "s") if point != own]
    todo = _todo(study, space, own, first)
    open_optuna(study, storage, space)
    _enqueue(study, storage, space, own, todo)
    told = optuna.load_study(study_name="s", storage=storage)
    waiting = told.get_trials(states=[optuna.trial.TrialState.WAITING])
    return _num_trials(study, todo), [
        (*trial.user_attrs.values(), trial.system_attrs["fixed_params"][BITS]) for trial in waiting
    ]


@pytest.mark.parametrize(
    ("space", "limit", "num_trials", "runs"),
    [
        ("[4, 6]", "null", 1, [(3, "sampler", 6)]),
        ("[2, 6]", "null", 3, [(3, "sampler", 6), (4, "sampler", 2), (5, "sampler", 3)]),
        ("[2, 6]", "4", 2, [(3, "sampler", 6), (4, "sampler", 2), (5, "sampler", 3)]),
        ("[2, 6]", "2", 0, [(3, "sampler", 6), (4, "sampler", 2), (5, "sampler", 3)]),
    ],
)
def test_another_grid_runs_those_of_its_points_that_were_not_tried(
    tmp_path, space, limit, num_trials, runs
):
    folder = StudyFolder(open_store(str(tmp_path)))
    study = Study(parse_job(GRID, "s"), folder)
    assert enqueued(study) == (3, [(1, "job", 4), (2, "sampler", 5), (3, "sampler", 6)])
    for number, origin, bits in ((1, "job", 4), (2, "sampler", 5), (3, "sampler", 6)):
        study.begin(number, origin, {BITS: bits}, Settings())
    study.end(1, "done")
    study.end(2, "failed", "the loss is nan")
    settings = [f"search.space={{{BITS}: {{int: {space}}}}}", f"search.num_trials={limit}"]
    assert enqueued(Study(parse_job(GRID, "s", settings), folder)) == (num_trials, runs)


def test_what_is_new_among_the_points_to_begin_with_is_tried_when_a_study_goes_on(tmp_path):
    settings = ["search.sampler=tpe", "search.num_trials=9"]
    study = Study(parse_job(GRID, "s", settings), StudyFolder(open_store(str(tmp_path))))
    own, written, new = {BITS: 4}, ("job", {BITS: 5}), ("job", {BITS: 3})
    gentle, harsh = ("seed", {BITS: 6}), ("seed", {BITS: 2})
    first = [written, gentle, harsh]
    numbered = {2: written, 3: gentle, 4: harsh}
    assert _todo(study, study.search.space, own, first) == {1: ("job", own)} | numbered
    for number, (origin, point) in {1: ("job", own), **numbered}.items():
        study.begin(number, origin, point, Settings())
        left = {later: found for later, found in numbered.items() if later > number}
        again = _todo(study, study.search.space, own, first)
        assert again == left, "in the same order, by the same numbers"
    study.begin(5, "sampler", {BITS: 7}, Settings())
    assert _todo(study, study.search.space, own, [written, new, gentle, harsh]) == {6: new}


def test_an_alternative_that_was_edited_is_another_one(tmp_path):
    folder = StudyFolder(open_store(str(tmp_path)))
    places = "search.space={data.more: {choice: [[], [./a]]}}"
    settings = ["search.sampler=tpe", "search.num_trials=9", places]
    study = Study(parse_job(GRID, "s", settings), folder)
    for number, label, values in ((1, "#1", []), (2, "#2", ["./a"]), (3, "#2", ["./a"])):
        study.begin(number, "sampler", {"data.more": label}, Settings({"data.more": values}))
    study.end(2, "done")
    first = [("job", {"data.more": "#2"})]
    own = {"data.more": "#1"}
    assert _todo(study, study.search.space, own, first) == {}
    edited = places.replace("./a", "./b")
    study = Study(parse_job(GRID, "s", [*settings[:2], edited]), folder)
    assert _todo(study, study.search.space, own, first) == {4: first[0]}
    storage = optuna.storages.InMemoryStorage()
    open_optuna(study, storage, study.search.space)
    _enqueue(study, storage, study.search.space, own, {})
    told = optuna.load_study(study_name="s", storage=storage).get_trials()
    assert [
        (trial.user_attrs["number"], trial.system_attrs["fixed_params"]) for trial in told
    ] == [
        (1, own),
        (3, {}),
    ], "what the other one gave is not told, and what was cut off is drawn anew, but for trial 1"


def test_the_next_round_leaves_out_what_there_is_no_time_for(tmp_path):
    study = Study(parse_job(GRID, "s"), StudyFolder(open_store(str(tmp_path))))
    for number, origin, bits in ((1, "job", 4), (2, "sampler", 5), (3, "sampler", 6)):
        study.begin(number, origin, {BITS: bits}, Settings())
    study.late.add(2)
    study.end(2, "stopped", TOO_LATE)
    assert enqueued(study) == (2, [(1, "job", 4), (3, "sampler", 6)])


def test_each_server_that_works_on_the_images_must_read_them(tmp_path, monkeypatch):
    def node(name, site):
        about = {"Alive": True, "NodeID": name, "NodeManagerAddress": name}
        return about | {"Labels": {"sigdca.io/site": site}, "Resources": {"CPU": 2}}

    nodes = [node("10.0.0.1", "private"), node("10.0.0.2", "public"), node("10.0.0.3", "edge")]
    asked = []

    def remote(num_cpus, scheduling_strategy):
        name = scheduling_strategy
        found = SimpleNamespace(remote=lambda spec, works: asked.append((name, works)) or name)
        return lambda _: found

    unread = {"10.0.0.1": "", "10.0.0.2": "/nfs/flowers: there is no data set"}

    def gather(_study, tasks):
        works = dict(asked)
        return [(True, unread[name] if works[name] else "", "") for name in tasks]

    monkeypatch.setattr(search, "NodeAffinitySchedulingStrategy", lambda name, soft: name)
    monkeypatch.setattr(search.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(search.ray, "remote", remote)
    monkeypatch.setattr(search, "_gather", gather)
    store = open_store(str(tmp_path))

    def checked(*settings):
        asked.clear()
        job = parse_job(GRID, "s", settings)
        spec = TrialSpec(job, job.search.space, store)
        search._check_nodes(Study(job, StudyFolder(store)), spec)
        return asked

    told = r"^data: not to be read on node 10\.0\.0\.2: /nfs/flowers: there is no data set; mount"
    with pytest.raises(SigdcaError, match=told):
        checked()
    assert checked("data.site=private") == [("10.0.0.1", True), ("10.0.0.2", False)]


def test_where_memory_is_asked_for_a_server_must_be_able_to_tell_it(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    job = parse_job(GRID, "s", ["budget.at={atom-x5-e3940: {memory_bytes: 9000}}"])
    spec = spec_of(job, store)
    assert search._sees(spec, True) == (False, "", "")

    def library():
        raise EngineError("native: libsigdca.so is not there")

    monkeypatch.setattr(search, "library", library)
    assert search._sees(spec, True) == (False, "", "native: libsigdca.so is not there")
    assert search._sees(spec, False) == (False, "", "")
    assert search._sees(spec_of(parse_job(GRID, "s"), store), True) == (False, "", "")


def test_a_study_that_goes_on_with_another_budget_keeps_its_trials(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    study = Study(parse_job(GRID, "s"), StudyFolder(store))
    figures = {"accuracy_drop": 0.0, "error": 1.0, "container_bytes": 9.0}
    container = store.child("shared").put(b"container")
    rung = Rung(share=1.0, figures=figures, container=container, run="r", duration_s=1.0)
    study.begin(1, "job", {BITS: 4}, Settings())
    study.add(1, rung, {"node": "n", "site": "private", "price": 0.0}, ends=True)
    found = {"fps@atom-x5-e3940": 99.0}
    monkeypatch.setattr(
        "sigdca.distributed.search.predicted_figures",
        lambda _job, content: found if content == b"container" else {},
    )

    def stopped(*_):
        raise _StoppedError

    monkeypatch.setattr("sigdca.distributed.search.wait_for_servers", lambda *_: None)
    monkeypatch.setattr("sigdca.distributed.search._check_nodes", stopped)
    job = parse_job(GRID, "s", ["targets=[atom-x5-e3940]", "budget.fps=75"])
    ended = search_on_cluster(None, Study(job, StudyFolder(store)), store, print)
    assert (ended.chosen, ended.meets_budget) == (1, True)


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Prepares a study whose TRAIN comes to a network with this error."""
    store, found = open_store(str(tmp_path)), {}
    monkeypatch.setattr(search.ray, "remote", lambda **_: lambda _work: SimpleNamespace(remote=id))
    monkeypatch.setattr(search, "_gather", lambda *_: [dict(found)])
    job = parse_job(GRID, "s")

    def prepare(error, artifact):
        found.update(error=error, num_samples=10000, artifact=64 * artifact)
        study = Study(job, StudyFolder(store))
        search._prepare(study, TrialSpec(job, job.search.space, store))
        return study

    return prepare


def give_result(study):
    figures = {"accuracy_drop": 0.0, "error": 1.7, "container_bytes": 9.0}
    container = study.folder.store.child("shared").put(b"container")
    rung = Rung(share=0.0, figures=figures, container=container, run="r", duration_s=1.0)
    study.begin(1, "job", {BITS: 4}, Settings())
    study.add(1, rung, {"node": "n", "site": "private", "price": 0.0})


def test_a_study_does_not_go_on_with_another_uncompressed_network(prepared):
    prepared(1.5, "0")
    study = prepared(1.6, "1")
    assert study.folder.study().baseline["error"] == 1.6, "no trial had any results"
    give_result(study)
    prepared(1.6, "1")
    told = r"study\.json: its trials compressed another network: sha256 1{12}, now 2{12}"
    with pytest.raises(JobError, match=told):
        prepared(1.6, "2")
    assert study.folder.study().network == 64 * "1"


def test_a_study_without_its_networks_sha256_does_not_go_on_with_other_figures(prepared):
    study = prepared(1.6, "1")
    give_result(study)
    study.network = ""
    study.save("running")
    told = r"study\.json: its trials compressed another network: error 1\.6, now 1\.5"
    with pytest.raises(JobError, match=told):
        prepared(1.5, "2")
    assert prepared(1.6, "3").folder.study().network == 64 * "3"


class Boards:
    """One that answers when it is polled the second time."""

    def __init__(self, _cluster, _job, _store, on_measured, _on_refused):
        self.asked, self.polls, self.is_closed = [], 0, False
        self._on_measured = on_measured

    def ask(self, number, container):
        self.asked.append((number, container))

    def owes(self, _number):
        return not self.is_idle()

    def is_idle(self):
        return self.polls > 1 or not self.asked

    def poll(self):
        self.polls += 1
        if self.is_idle():
            self._on_measured(1, {"latency_us@atom-x5-e3940": 7.0})

    def close(self):
        self.is_closed = True


def test_what_is_predicted_is_measured_though_all_trials_are_done(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(search, "Boards", lambda *given: made.append(Boards(*given)) or made[-1])
    monkeypatch.setattr(search, "POLL_S", 0.0)
    monkeypatch.setattr(search, "_tune", lambda *_: pytest.fail("no trial is left"))
    store = open_store(str(tmp_path))
    objectives = "search.objectives={error: min, latency_us@atom-x5-e3940: min}"
    job = parse_job(GRID, "s", ["search.num_trials=2", objectives])
    study = Study(job, StudyFolder(store))
    container = store.child("shared").put(b"container")
    for number, predicted in ((1, ("latency_us@atom-x5-e3940",)), (2, ())):
        study.begin(number, "sampler", {BITS: 3 + number}, Settings())
        figures = {"accuracy_drop": 0.0, "error": 1.0, "container_bytes": 9.0}
        rung = Rung(
            share=1.0,
            figures=figures | {"latency_us@atom-x5-e3940": 5.0},
            predicted=predicted,
            container=container,
            run="r",
            duration_s=1.0,
        )
        study.add(number, rung, {"node": "n", "site": "private", "price": 0.0}, ends=True)
    spec = TrialSpec(job, job.search.space, store)
    assert not search.run_trials(None, study, spec, {BITS: 4}, [], print)
    (boards,) = made
    assert boards.asked == [(1, container)]
    assert boards.is_closed
    full = study.trial(1).full
    assert (full.figures["latency_us@atom-x5-e3940"], full.predicted) == (7.0, ())


def test_a_study_ends_where_fewer_trials_are_asked_for_than_were_begun(tmp_path, monkeypatch):
    rounds, run = [], search.run_trials

    def run_trials(*given):
        rounds.append(given)
        assert len(rounds) == 1, "nothing would ever end the trials that were cut off"
        return run(*given)

    monkeypatch.setattr(search, "Boards", Boards)
    monkeypatch.setattr(search, "_tune", lambda *_: pytest.fail("no trial is left"))
    monkeypatch.setattr(search, "wait_for_servers", lambda *_: None)
    monkeypatch.setattr(search, "_check_nodes", lambda *_: None)
    monkeypatch.setattr(search, "_prepare", lambda *_: (None, {}, []))
    monkeypatch.setattr(search, "run_trials", run_trials)
    store = open_store(str(tmp_path))
    job = parse_job(GRID, "s", ["search.sampler=tpe", "search.num_trials=2"])
    study = Study(job, StudyFolder(store))
    for number in (1, 2, 3):
        study.begin(number, "sampler", {BITS: 3 + number}, Settings())
    study.end(1, "done")
    study.end(2, "pruned")
    ended = search_on_cluster(None, study, store, print)
    assert (ended.status, ended.why) == ("done", "all trials are done")
    assert study.trial(3).status == "stopped"


def test_a_study_ends_with_trials_that_there_is_no_time_for(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    study = Study(parse_job(GRID, "s", ["search.time_budget_s=1000"]), StudyFolder(store))

    def run_trials(*_):
        study.begin(1, "job", {BITS: 4}, Settings())
        study.late.add(1)
        study.end(1, "stopped", "it was late")
        return False

    monkeypatch.setattr("sigdca.distributed.search.wait_for_servers", lambda *_: None)
    monkeypatch.setattr("sigdca.distributed.search._check_nodes", lambda *_: None)
    monkeypatch.setattr("sigdca.distributed.search._prepare", lambda *_: (None, {}, []))
    monkeypatch.setattr("sigdca.distributed.search.run_trials", run_trials)
    ended = search_on_cluster(None, study, store, print)
    assert (ended.status, ended.why) == ("done", TOO_LATE)
    assert study.trial(1).reason == "it was late", "its own end stays"
