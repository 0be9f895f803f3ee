"""What Optuna hears of a study, and hears again when it goes on."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sigdca.distributed.searcher import (
    Journal,
    StudySearch,
    distributions_of,
    enqueue,
    make_sampler,
    open_optuna,
)
from sigdca.job import parse_job
from sigdca.search import (
    EXCESS,
    Rung,
    Settings,
    Study,
    StudyFolder,
    TrialRecord,
    missed_bounds,
)
from sigdca.storage import open_store

JOB = """
name: study
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: {ip1: 0.9}, epochs: 8}}, encode]}
search:
  space:
    compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}
    compress.recipe.0.prune.schedule: {choice: [gradual, one-shot]}
  num_trials: 5
budget: {error: 2.0}
"""


@pytest.fixture
def study(tmp_path):
    return Study(parse_job(JOB, "study.yaml"), StudyFolder(open_store(str(tmp_path))))


def figures(error, container_bytes=1000.0):
    return {
        "accuracy": 100 - error,
        "error": error,
        "accuracy_drop": 0.0,
        "container_bytes": container_bytes,
        "compression_ratio": 50.0,
    }


def searcher_of(study):
    storage = optuna.storages.InMemoryStorage()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    open_optuna(study, storage, study.search.space)
    where = {"site": "private", "shunned": []}
    searcher = StudySearch(study, study.search.space, storage, lambda number: where, True)
    return searcher, optuna.load_study(study_name="study", storage=storage)


def result(number, error, share):
    return {"number": number, "share": share, "figures": figures(error), "failed": ""} | figures(
        error
    )


def rung(study, error, share):
    found = figures(error)
    missed = missed_bounds(study.job, found)
    container = study.folder.store.child("shared").put(b"container")
    return Rung(
        share=share, figures=found, missed=missed, container=container, run="r", duration_s=1.0
    )


PLACE = {"node": "n", "site": "private", "price": 0.0}


def test_a_low_fidelity_never_looks_like_a_full_one(study):
    searcher, told = searcher_of(study)
    for number, (error, share) in enumerate([(1.5, 1.0), (2.5, 1.0), (0.5, 0.25)], 1):
        config = searcher.suggest(f"t{number}")
        assert config["number"] == number
        study.add(number, rung(study, error, share), PLACE)
        searcher.on_trial_complete(f"t{number}", result(number, error, share))
        searcher.release(lambda number: False)
    good, missed, low = told.trials
    assert good.constraints == {"error": 0.0, "unfinished": 0.0}
    assert missed.constraints == {"error": 0.25, "unfinished": 0.0}
    assert low.constraints == {"error": 0.0, "unfinished": 0.75}
    assert [trial.number for trial in told.best_trials] == [0], "of those that hold"


def test_an_error_beyond_trial_1s_counts_where_the_budget_bounds_none(study):
    study = Study(parse_job(JOB, "s", ["budget={container_bytes: 900}"]), study.folder)
    searcher, told = searcher_of(study)
    point = {SPARSITY: 0.9, SCHEDULE: "gradual"}
    enqueue(told, TrialRecord(number=2, origin="seed", point=point), point, study.search.space)
    enqueue(told, TrialRecord(number=1, origin="job", point=point), point, study.search.space)
    for number, (error, share) in {2: (3.0, 0.25), 1: (1.5, 1.0), 3: (3.0, 1.0)}.items():
        assert searcher.suggest(f"t{number}")["number"] == number
        study.add(number, rung(study, error, share), PLACE, ends=share == 1.0)
        searcher.on_trial_complete(f"t{number}", result(number, error, share))
        searcher.release(lambda number: False)
        if share < 1.0:
            study.end(number, "pruned")
    low, own, worse = (trial.constraints for trial in told.trials)
    assert own == {"container_bytes": 100 / 900, EXCESS: 0.0, "unfinished": 0.0}
    assert worse[EXCESS] == pytest.approx(1.0)
    assert low == {"container_bytes": 100 / 900, EXCESS: 0.0, "unfinished": 0.75}, "not known yet"
    _, again = searcher_of(Study(study.job, study.folder))
    assert [set(trial.constraints) for trial in again.trials] == 3 * [set(own)]
    assert [trial.constraints[EXCESS] for trial in again.trials] == pytest.approx([0, 1, 1])


def test_what_a_board_is_to_measure_is_told_when_it_has(study):
    searcher, told = searcher_of(study)
    searcher.suggest("t1")
    study.add(1, rung(study, 1.5, 1.0), PLACE)
    searcher.on_trial_complete("t1", result(1, 1.5, 1.0))
    searcher.release(lambda number: True)
    assert told.trials[0].state == TrialState.RUNNING
    searcher.release(lambda number: False)
    assert told.trials[0].values == [1.5, 1000.0]


def test_what_a_board_has_refused_is_told_as_failed(study):
    searcher, told = searcher_of(study)
    searcher.suggest("t1")
    study.add(1, rung(study, 1.5, 1.0), PLACE)
    searcher.on_trial_complete("t1", result(1, 1.5, 1.0))
    study.refuse(1, "beyond tolerance")
    searcher.release(lambda number: False)
    assert told.trials[0].state == TrialState.FAIL


def test_a_failed_trial_is_told_as_failed(study):
    searcher, told = searcher_of(study)
    searcher.suggest("t1")
    failed = {"number": 1, "share": 1.0, "figures": {}, "failed": "the loss is nan"}
    searcher.on_trial_complete("t1", failed)
    assert told.trials[0].state == TrialState.FAIL


def test_a_lost_trial_is_told_as_failed(study):
    searcher, told = searcher_of(study)
    searcher.suggest("t1")
    searcher.on_trial_complete("t1", None, error=True)
    assert told.trials[0].state == TrialState.FAIL


def test_a_study_that_goes_on_tells_all_that_is_finished(study):
    for number, status in ((1, "done"), (2, "pruned"), (3, "failed"), (4, "running")):
        point = {
            "compress.recipe.0.prune.sparsity.ip1": 0.9,
            "compress.recipe.0.prune.schedule": "gradual",
        }
        study.begin(number, "sampler", point, Settings())
        if status in ("done", "pruned"):
            study.add(number, rung(study, 1.0, 1.0 if status == "done" else 0.25), PLACE)
        if status != "running":
            study.end(number, status)
    searcher, told = searcher_of(study)
    states = [trial.state for trial in told.trials]
    assert states == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert told.trials[1].constraints["unfinished"] == 0.75
    assert told.trials[0].params["compress.recipe.0.prune.schedule"] == "gradual"
    assert searcher.suggest("t5")["number"] == 5


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_a_genetic_sampler_goes_on_with_the_generation_it_was_at(study, sampler):
    job = parse_job(JOB, "s", [f"search.sampler={sampler}", "search.num_trials=999"])
    study = Study(job, study.folder)
    for number in range(1, 122):
        point = {SPARSITY: 0.8 + number / 1000, SCHEDULE: "gradual"}
        study.begin(number, "sampler", point, Settings())
        if number == 60:
            study.end(number, "failed", "the loss is nan")
        else:
            study.add(number, rung(study, number / 100, 1.0), PLACE, ends=True)
    searcher, told = searcher_of(study)
    searcher.suggest("t122")
    drawing = searcher._ot_study.sampler
    assert drawing.get_trial_generation(told, told.trials[-1]) == 2
    found = [
        sum(t.state == TrialState.COMPLETE for t in drawing.get_population(told, generation))
        for generation in range(3)
    ]
    assert found == [50, 50, 20]
    assert len(drawing.get_parent_population(told, 2)) == 50


SPARSITY = "compress.recipe.0.prune.sparsity.ip1"
SCHEDULE = "compress.recipe.0.prune.schedule"


@pytest.mark.parametrize(
    "space",
    [
        {SPARSITY: "{uniform: [0.95, 0.99]}", SCHEDULE: "{choice: [gradual, one-shot]}"},
        {SPARSITY: "{uniform: [0.8, 0.99]}", SCHEDULE: "{choice: [one-shot]}"},
        {SPARSITY: "{uniform: [0.8, 0.99]}"},
        {
            SPARSITY: "{uniform: [0.8, 0.99]}",
            SCHEDULE: "{choice: [gradual, one-shot]}",
            "seed": "{int: [1, 9]}",
        },
    ],
    ids=["narrower", "fewer values", "fewer paths", "more paths"],
)
def test_what_was_tried_in_another_space_is_not_told(study, space):
    point = {SPARSITY: 0.9, SCHEDULE: "gradual"}
    for number in (1, 2):
        study.begin(number, "job", point, Settings())
    study.add(1, rung(study, 1.0, 1.0), PLACE, ends=True)
    words = ", ".join(f"{path}: {dimension}" for path, dimension in space.items())
    job = parse_job(JOB, "study.yaml", [f"search.space={{{words}}}"])
    again = Study(job, study.folder)
    searcher, told = searcher_of(again)
    assert told.trials == []
    enqueue(told, again.trial(2), point, again.search.space)
    config = searcher.suggest("t2")
    assert config["number"] == 2
    assert set(config["point"]) == set(space), "drawn anew"
    assert (config["origin"], again.trial(2).origin) == ("sampler", "sampler")
    assert config["shares"] == list(again.search.fidelities), "nobody has written it down"


def test_a_point_that_was_written_down_is_drawn_again_as_such(study):
    point = {SPARSITY: 0.95, SCHEDULE: "one-shot"}
    study.begin(2, "job", point, Settings())
    searcher, told = searcher_of(study)
    enqueue(told, study.trial(2), point, study.search.space)
    config = searcher.suggest("t2")
    assert (config["origin"], config["point"], config["shares"]) == ("job", point, [1.0])


@pytest.mark.parametrize("dimension", ["{uniform: [0.01, 0.1]}", "{int: [1, 4]}"])
@pytest.mark.parametrize("value", [None, "one-shot", [1]])
def test_what_was_a_choice_may_be_a_range_now(study, dimension, value):
    job = parse_job(JOB, "study.yaml", [f"search.space={{{SPARSITY}: {dimension}}}"])
    assert distributions_of(job.search.space, {SPARSITY: value}) is None


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "random", "grid"])
def test_every_sampler_can_be_made(name):
    assert make_sampler(name, 1) is not None


def test_a_dashboard_reads_the_journal_and_may_write_into_it(study, tmp_path):
    path = str(tmp_path / "journal")
    open_optuna(study, JournalStorage(Journal(path)), study.search.space)
    ours = optuna.load_study(study_name="study", storage=JournalStorage(Journal(path)))
    theirs = optuna.load_study(
        study_name="study", storage=JournalStorage(JournalFileBackend(path))
    )
    ours.enqueue_trial({}, user_attrs={"number": 1})
    theirs.set_user_attr("note", "good")
    ours.ask()
    assert [trial.user_attrs["number"] for trial in theirs.trials] == [1]
    assert ours.user_attrs == {"note": "good"}
