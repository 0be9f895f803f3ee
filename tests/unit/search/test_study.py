"""A study's files: what is best, what is on the front, and what ends it."""

import json
import math

import pytest

from sigdca.errors import JobError, StorageError
from sigdca.job.budget import figures_at
from sigdca.search import (
    FrontRecord,
    Rung,
    Settings,
    Study,
    StudyFolder,
    asked_targets,
    missed_bounds,
)
from sigdca.search.choice import bound_names
from sigdca.storage import open_store


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    return StudyFolder(open_store(str(tmp_path)))


def rung(study, container_bytes, error, share=1.0, duration_s=36.0, **more):
    figures = {
        "accuracy": 100 - error,
        "error": error,
        "accuracy_drop": 0.0,
        "container_bytes": container_bytes,
        "compression_ratio": 50.0,
    } | more
    container = study.folder.store.child("shared").put(f"{container_bytes} {error}".encode())
    return Rung(
        share=share,
        figures=figures,
        missed=missed_bounds(study.job, figures),
        container=container,
        run="trials/x",
        duration_s=duration_s,
    )


PLACE = {"node": "n", "site": "public", "price": 2.0}


def tried(study, number, *figures, status="done", **options):
    study.begin(number, "sampler", {"p": number}, Settings({"seed": number}, []))
    study.add(number, rung(study, *figures, **options), PLACE)
    study.end(number, status)


def test_the_smallest_that_meets_the_budget_is_chosen_then_the_error(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 30000, 1.5)
    assert study.chosen.number == 1, "nothing meets it yet"
    tried(study, 2, 19000, 1.9)
    tried(study, 3, 19000, 1.8)
    tried(study, 4, 5000, 2.5)
    tried(study, 5, 4000, 1.0, share=0.25, status="pruned")
    tried(study, 6, 3000, 1.0, share=0.0, status="failed")
    assert study.chosen.number == 3
    assert [trial.number for trial in study.front()] == [1, 3, 4]
    assert folder.study().meets_budget
    store = folder.store
    assert store.read("model.dca") == b"19000 1.8"
    assert store.child("front").names() == ["0001.dca", "0003.dca", "0004.dca"]
    front = FrontRecord.model_validate_json(store.read("front.json"))
    assert [trial.number for trial in front.trials] == [1, 3, 4]


LATENCY = "latency_us@atom-x5-e3940"


def chosen_of(folder, job, *trials):
    """The number of the trial that is chosen, of (bytes, error, latency) each."""
    study = Study(job, folder)
    for number, (size, error, latency_us) in enumerate(trials, 1):
        tried(study, number, size, error, **{LATENCY: latency_us})
    again = Study(job, folder)
    assert again.chosen == study.chosen
    assert again.front() == study.front()
    return study.chosen.number


@pytest.mark.parametrize(
    ("objectives", "budget", "trials", "chosen"),
    [
        # Nothing is bounded: as small as may be, at trial 1's error; never the most ruined one.
        ("{error: min, container_bytes: min}", "{}", [(900, 90.0, 1)], 1),
        ("{error: min, container_bytes: min}", "{}", [(900, 90.0, 1), (9000, 1.5, 9)], 3),
        ("{error: min, container_bytes: min}", "{}", [(9000, 1.4, 9), (12000, 1.2, 9)], 2),
        # Bytes alone are bounded: the least error that fits.
        (
            "{error: min, container_bytes: min}",
            "{container_bytes: 14000}",
            [(900, 90.0, 1), (9000, 1.4, 9), (12000, 1.2, 9), (14001, 1.1, 9)],
            4,
        ),
        ("{error: min}", "{}", [(9000, 1.4, 9), (12000, 1.2, 9), (11000, 1.2, 9)], 4),
        # The error is bounded: the smallest, or the fastest where that is what counts.
        ("{error: min, container_bytes: min}", "{error: 2.0}", [(9000, 1.9, 1)], 2),
        (f"{{{LATENCY}: min}}", "{}", [(9000, 1.4, 9), (11000, 1.3, 8), (900, 90, 1)], 3),
        (f"{{error: min, {LATENCY}: min}}", "{error: 2.0}", [(9000, 1.4, 9), (9500, 2, 8)], 3),
        (
            f"{{container_bytes: min, {LATENCY}: min}}",
            "{accuracy_drop: 0.5}",
            [(9000, 1.4, 9), (9500, 1.2, 8)],
            2,
        ),
        # Both are bounded, so nothing is gained by less of either: the smallest.
        (
            f"{{error: min, {LATENCY}: min}}",
            f"{{error: 2.0, at: {{{LATENCY.partition('@')[2]}: {{latency_us: 20}}}}}}",
            [(9000, 1.4, 9), (8000, 1.9, 12)],
            3,
        ),
    ],
)
def test_what_the_budget_leaves_open_decides(make_job, folder, objectives, budget, trials, chosen):
    job = make_job(f"search.objectives={objectives}", f"budget={budget}")
    assert chosen_of(folder, job, (14000, 1.5, 10), *trials) == chosen
    study = folder.study()
    assert study.meets_budget
    assert study.error_bound == (None if "error" in budget or "drop" in budget else 1.5)


def test_before_trial_1_is_done_the_least_error_is_chosen(make_job, folder):
    study = Study(make_job("budget={}"), folder)
    tried(study, 2, 900, 90.0)
    tried(study, 3, 9000, 1.6)
    assert (study.chosen.number, study.error_bound) == (3, None)
    tried(study, 1, 14000, 1.5)
    assert (study.chosen.number, study.error_bound) == (1, 1.5)


def test_where_nothing_is_as_good_as_trial_1_and_meets_the_budget_it_is_said(make_job, folder):
    study = Study(make_job("budget={container_bytes: 10000}"), folder)
    tried(study, 1, 30000, 1.5)
    tried(study, 2, 900, 90.0)
    tried(study, 3, 10000, 1.8)
    assert study.chosen.number == 3
    found = folder.study()
    assert (found.meets_budget, found.unmet) == (False, ("error 1.8, trial 1's 1.5",))
    tried(study, 4, 11000, 1.5)
    assert study.chosen.number == 3, "the budget asks for bytes"


def test_a_network_that_is_not_as_accurate_as_was_asked_misses_the_budget(make_job, folder):
    study = Study(make_job("train.accuracy_at_least=98.4"), folder)
    assert study.inaccuracy == "", "nobody knows yet"
    study.baseline = {"accuracy": 60.0}
    tried(study, 1, 19000, 1.5)
    said = "accuracy 60 %, train.accuracy_at_least 98.4 was not reached"
    assert study.inaccuracy == said
    assert (folder.study().meets_budget, folder.study().unmet) == (False, (said,))
    study.baseline = {"accuracy": 98.4}
    assert study.save("done").meets_budget


def test_of_equal_trials_the_chosen_one_is_on_the_front(make_job, folder):
    study = Study(make_job("search.objectives={error: min}", "budget={}"), folder)
    tried(study, 1, 30000, 1.5)
    tried(study, 3, 20000, 1.2)
    tried(study, 2, 10000, 1.2)
    assert [trial.number for trial in study.front()] == [2] == [study.chosen.number]


def test_what_is_chosen_is_shown_where_it_is_not_on_the_front(make_job, folder):
    job = make_job("search.objectives={error: min}", "budget={container_bytes: 20000}")
    study = Study(job, folder)
    tried(study, 1, 20000, 1.5)
    tried(study, 2, 30000, 1.2)
    assert study.chosen.number == 1
    assert [trial.number for trial in study.shown()] == [2, 1]
    assert [trial.number for trial in study.front()] == [2]


def test_a_study_that_is_opened_again_stands_as_it_stood(make_job, folder):
    clock = Clock()
    study = Study(make_job(), folder, clock)
    tried(study, 1, 30000, 1.5)
    tried(study, 2, 19000, 1.9)
    study.begin(3, "sampler", {"p": 3}, Settings())
    clock.now += 50
    study.save("running")
    again = Study(make_job(), folder, Clock())
    assert again.trials() == study.trials()
    assert again.chosen == study.chosen
    assert again.front() == study.front()
    assert [trial.number for trial in again.unfinished()] == [3]
    assert again.spending.elapsed_s == 50
    assert again.spending.cost == study.spending.cost == pytest.approx(2 * 2.0 * 36 / 3600)


def test_a_study_that_goes_on_is_judged_by_the_budget_given_then(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 30000, 1.0)
    tried(study, 2, 19000, 1.9)
    assert (study.chosen.number, folder.study().meets_budget) == (2, True)
    again = Study(make_job("budget={error: 1.5}"), folder)
    assert again.save("running").chosen == 1
    assert again.trial(2).full.missed == {"error": pytest.approx(0.4 / 1.5)}
    assert folder.trials() == again.trials()
    assert folder.store.read("model.dca") == b"30000 1.0"
    assert not Study(make_job("budget={error: 0.5}"), folder).save("running").meets_budget


def test_a_trial_that_lacks_a_figure_of_the_budget_is_not_chosen(make_job, folder):
    tried(Study(make_job(), folder), 1, 19000, 1.9)
    again = Study(make_job("budget.fps=1000", "targets=[atom-x5-e3940]"), folder)
    assert again.chosen is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model=lenet-5", "model: its trials ran with lenet-300-100, got lenet-5"),
        ("seed=3", "seed: its trials ran with 0, got 3"),
        ("data.limit=600", "data.limit: its trials ran with None, got 600"),
        ("compress.recipe.0.prune.epochs=9", "compress.recipe.0.prune.epochs: its trials ran"),
    ],
)
def test_a_study_does_not_go_on_with_another_job(make_job, folder, setting, said):
    Study(make_job(), folder).save("running")
    with pytest.raises(JobError) as found:
        Study(make_job(setting), folder)
    assert f"study.json: {said}" in str(found.value)
    assert str(found.value).endswith("leave out --resume, or give the job another name")


def test_a_study_does_not_go_on_from_a_run(make_job, folder):
    folder.store.write("ledger/0001.json", b"{}")
    folder.store.write("model.dca", b"the run's")
    with pytest.raises(JobError, match="holds a run, and no study to go on with; leave out"):
        Study(make_job(), folder)
    assert folder.store.read("model.dca") == b"the run's"


def test_a_study_goes_on_elsewhere_and_for_longer(make_job, folder):
    Study(make_job(), folder).save("running")
    settings = ["search.num_trials=9", "search.cost=5", "search.fidelities=[0.5, 1.0]"]
    settings += ["data.site=private", "train.workers=1", "targets=[atom-x5-e3940]"]
    assert Study(make_job(*settings), folder).search.num_trials == 9


def test_time_and_cost_end_it(make_job, folder):
    clock = Clock()
    study = Study(make_job("search.time_budget_s=60", "search.cost=0.05"), folder, clock)
    assert study.why_over() is None
    clock.now += 61
    assert study.why_over() == "time_budget_s: 60 s are over"
    clock.now -= 61
    tried(study, 1, 30000, 1.5)
    assert study.why_over() is None
    tried(study, 2, 30001, 1.5, duration_s=72.0)
    assert "cost: 0.06 of 0.05 are spent" in study.why_over()
    study.stop = "interrupted"
    assert study.why_over() == "interrupted"


def test_what_is_cut_off_is_paid_for_once(make_job, folder):
    clock = Clock()
    study = Study(make_job("search.cost=0.05"), folder, clock)
    study.begin(1, "job", {}, Settings())
    study.begin(2, "sampler", {}, Settings())
    study.spending.start(1, PLACE)
    study.spending.start(2, PLACE)
    clock.now += 36
    assert study.save("running").cost == pytest.approx(0.04), "both are at work"
    study.cut_off(1)
    study.cut_off(1)
    clock.now += 36
    assert study.why_over() == "cost: 0.06 of 0.05 are spent"
    study.end(2, "stopped", study.why_over())
    clock.now += 36
    lost, stopped = Study(make_job(), folder).trials()
    assert (lost.status, lost.cost, lost.duration_s) == ("running", pytest.approx(0.02), 36)
    assert (stopped.status, stopped.cost, stopped.site) == ("stopped", 0.04, "public")
    study.begin(1, "job", {}, Settings())
    again = study.trial(1)
    assert (again.cost, again.node, again.site) == (lost.cost, "n", "public"), "where it cost it"
    assert study.save("done").cost == lost.cost + stopped.cost
    assert [trial.number for trial in study.running()] == [1]
    assert [trial.number for trial in study.unfinished()] == [1, 2]


def test_a_fidelity_that_runs_again_replaces_the_first(make_job, folder):
    study = Study(make_job(), folder)
    study.begin(1, "job", {}, Settings())
    study.add(1, rung(study, 100, 9.0, share=0.0), PLACE)
    study.add(1, rung(study, 100, 9.0, share=0.0), PLACE)
    study.add(1, rung(study, 200, 1.0), PLACE)
    assert [found.share for found in study.trial(1).rungs] == [0.0, 1.0]
    assert study.trial(1).cost == pytest.approx(3 * 2.0 * 36 / 3600), "all of it was paid for"


def test_how_long_a_fidelity_took_is_known_when_it_is_found_done(make_job, folder):
    job = make_job("search.time_budget_s=1000")  # 3 epochs at a quarter, 11 in all
    for took_s in (300.0, 1.0, 1.0):  # at first, and found done by two more starts
        study = Study(job, folder, Clock())
        study.begin(1, "sampler", {"p": 1}, Settings())
        assert not study.has_time(1, 1, took_s)
        study.add(1, rung(study, 100, 9.0, share=0.25, duration_s=took_s), PLACE)
        study.end(1, "stopped")
    record = study.trial(1)
    assert (record.last.duration_s, record.duration_s) == (300.0, 302.0), "what it took is paid"
    study = Study(job, folder, Clock())
    study.begin(1, "sampler", {"p": 2}, Settings())
    assert study.has_time(1, 1, 1.0), "drawn anew, it is another trial"


def test_the_time_for_the_next_fidelity_is_by_the_trials_own_epochs(make_job, folder):
    study = Study(make_job("search.time_budget_s=1000"), folder, Clock())
    longer = {"compress.recipe.0.prune.epochs": 80}  # 20 + 1 epochs, then 80 + 3
    study.begin(1, "sampler", {"p": 1}, Settings(longer))
    study.begin(2, "sampler", {"p": 2}, Settings(longer, ["compress.recipe.1"]))
    assert study.has_time(1, 1, 252.0)
    assert not study.has_time(2, 1, 252.0), "four times as long, without the second pass"


def test_trials_that_are_late_do_not_run_again_in_the_same_start(make_job, folder):
    study = Study(make_job(), folder)
    for number in (1, 2):
        study.begin(number, "sampler", {"p": number}, Settings())
    study.late.add(1)
    study.end(1, "stopped")
    assert [trial.number for trial in study.unfinished()] == [2]
    again = Study(make_job(), folder)
    assert [trial.number for trial in again.unfinished()] == [1, 2]


def test_a_failed_trial_is_kept_and_paid_for(make_job, folder):
    study = Study(make_job(), folder)
    study.begin(1, "sampler", {}, Settings())
    study.fail(1, "the loss is nan", 36.0, PLACE)
    failed = Study(make_job(), folder).trial(1)
    assert (failed.status, failed.reason) == ("failed", "the loss is nan")
    assert (failed.site, failed.duration_s) == ("public", 36.0)
    assert study.spending.cost == failed.cost == pytest.approx(0.02)
    assert study.unfinished() == []


def test_what_a_board_measures_replaces_what_was_predicted(make_job, folder):
    job = make_job(
        "search.objectives={error: min, latency_us@atom-x5-e3940: min}",
        "targets=[atom-x5-e3940]",
        "budget.fps=1000",
    )
    study = Study(job, folder)
    at = "atom-x5-e3940"
    for number, latency_us in ((1, 100.0), (2, 200.0)):
        figures = {
            f"latency_us@{at}": latency_us,
            f"fps@{at}": 1e6 / latency_us,
            f"energy_mj@{at}": latency_us,
        }
        study.begin(number, "sampler", {}, Settings())
        guess = rung(study, 100, 1.0, **figures)
        study.add(number, guess.model_copy(update={"predicted": tuple(figures)}), PLACE)
        study.end(number, "done")
    assert [trial.number for trial in study.front()] == [1]
    study.measured(1, {f"latency_us@{at}": 2000.0, f"fps@{at}": 500.0})
    full = study.trial(1).full
    assert full.predicted == (f"energy_mj@{at}",)
    assert full.figures[f"energy_mj@{at}"] == 2000.0
    assert full.missed == {f"fps@{at}": 0.5}
    assert [trial.number for trial in study.front()] == [2]
    assert study.chosen.number == 2
    study.measured(2, {f"latency_us@{at}": 400.0, f"fps@{at}": 2500.0, f"energy_mj@{at}": 7.0})
    full = study.trial(2).full
    assert (full.predicted, full.figures[f"energy_mj@{at}"]) == ((), 7.0)


def test_what_a_board_refuses_is_kept_and_neither_chosen_nor_on_the_front(make_job, folder):
    study, told = Study(make_job(), folder), []
    tried(study, 1, 20000, 1.5)
    tried(study, 2, 10000, 1.5)
    assert study.chosen.number == 2
    study.watchers.append(lambda study, record: told.append((record.number, record.status)))
    ended = study.trial(2).ended
    for _ in range(2):  # of two targets, both may say so
        study.refuse(2, "target 'a': beyond tolerance")
    assert told == [(2, "failed")]
    assert folder.store.read("model.dca") == b"20000 1.5"
    assert folder.store.child("front").names() == ["0001.dca"]
    again = Study(make_job(), folder)
    failed = again.trial(2)
    assert (failed.status, failed.reason) == ("failed", "target 'a': beyond tolerance")
    assert (failed.ended, failed.full) == (ended, study.trial(2).full)
    assert again.chosen.number == 1
    assert [trial.number for trial in again.front()] == [1]
    assert folder.study().num_trials == {"done": 1, "failed": 1}


def test_trial_1_bounds_the_error_though_a_board_refuses_its_container(make_job, folder):
    study = Study(make_job("budget={}"), folder)
    tried(study, 1, 20000, 1.5)
    tried(study, 2, 15000, 1.5)
    tried(study, 3, 10000, 60.0)
    study.refuse(1, "target 'a': beyond tolerance")
    assert (study.chosen.number, study.error_bound) == (2, 1.5)


def test_figures_that_nobody_asked_for_before_are_predicted(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 20000, 1.0)
    tried(study, 2, 10000, 1.5)
    tried(study, 3, 5000, 1.0, share=0.25, status="pruned")
    at, asked = "atom-x5-e3940", []

    def predicted(container):
        asked.append(container)
        found = float(folder.store.child("shared").get(container).split()[0])
        return {f"latency_us@{at}": found, f"fps@{at}": 1e6 / found}

    job = make_job(f"targets=[{at}]", "budget.fps=75")
    again = Study(job, folder)
    assert again.front() == []
    again.complete(predicted)
    again.save("running")
    assert [trial.number for trial in again.front()] == [1, 2]
    full = Study(job, folder).trial(1).full
    assert full.predicted == (f"latency_us@{at}", f"fps@{at}")
    assert full.missed == pytest.approx({f"fps@{at}": 1 / 3})
    assert full.figures["error"] == 1.0
    assert again.chosen.number == 2
    assert folder.store.read("model.dca") == b"10000 1.5"
    assert (folder.study().meets_budget, folder.study().unverified) == (True, (f"fps@{at}",))
    again.measured(2, {f"latency_us@{at}": 5.0, f"fps@{at}": 2e5})
    assert folder.study().unverified == ()
    Study(job, folder).complete(predicted)
    assert len(asked) == 3, "once a container, and not what is measured"


def test_bounds_at_targets_are_constraints_and_fast_enough_is_enough(make_job, folder):
    at = "jetson-tx2-cpu"
    bounds = f"{{error: 2.0, at: {{{at}: {{latency_us: 100, energy_mj: 5}}}}}}"
    objectives = f"{{error: min, container_bytes: min, latency_us@{at}: min}}"
    job = make_job(f"budget={bounds}", f"search.objectives={objectives}")
    assert asked_targets(job) == (at,)
    assert bound_names(job) == ("error", f"latency_us@{at}", f"energy_mj@{at}")
    study = Study(job, folder)
    for number, (size, latency_us, energy_mj) in enumerate(
        [(30000, 50.0, 1.0), (20000, 99.0, 5.0), (10000, 150.0, 1.0), (10000, 90.0, 6.0)], 1
    ):
        told = {"latency_us": latency_us, "energy_mj": energy_mj}
        tried(study, number, size, 1.5, **figures_at(at, told))
    assert study.trial(3).full.missed == {f"latency_us@{at}": 0.5}
    assert study.trial(4).full.missed == {f"energy_mj@{at}": 0.2}
    assert study.chosen.number == 2, "the smallest that is fast enough"


def test_nothing_is_published_that_is_not_on_the_front(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 20000, 1.0)
    assert folder.store.child("front").names() == ["0001.dca"]
    again = Study(make_job("targets=[atom-x5-e3940]", "budget.fps=75"), folder)
    again.save("running")
    assert again.chosen is None
    assert FrontRecord.model_validate_json(folder.store.read("front.json")).trials == ()
    assert folder.store.child("front").names() == []
    assert not folder.store.exists("model.dca")


def test_hypervolume_is_against_the_jobs_own_recipe(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 20000, 2.0)
    assert folder.study().hypervolume == pytest.approx(0.25)
    tried(study, 2, 10000, 2.0)
    assert folder.study().hypervolume == pytest.approx(0.375)


def test_the_front_is_written_when_it_changes_and_only_then(make_job, folder, monkeypatch):
    study, written = Study(make_job(), folder), []
    write = folder.write_front
    monkeypatch.setattr(folder, "write_front", lambda front: (written.append(front), write(front)))
    for number, (figures, is_new) in enumerate(
        [((20000, 2.0), True), ((30000, 3.0), False), ((10000, 3.0), True), ((10000, 3.0), False)],
        1,
    ):
        written.clear()
        tried(study, number, *figures)
        assert bool(written) == is_new


def test_a_trial_that_ends_with_a_fidelity_is_written_once(make_job, folder):
    study, told = Study(make_job(), folder), []
    study.watchers.append(lambda study, record: told.append((record.status, len(record.rungs))))
    study.begin(1, "job", {}, Settings())
    study.add(1, rung(study, 100, 9.0, share=0.0), PLACE)
    study.add(1, rung(study, 100, 9.0), PLACE, ends=True)
    assert told == [("running", 0), ("running", 1), ("done", 2)]
    assert Study(make_job(), folder).trial(1).ended is not None


def test_a_figure_that_is_no_number_is_read_again(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 20000, 2.0, loss=math.inf, other=math.nan)
    figures = Study(make_job(), folder).trial(1).full.figures
    assert figures["loss"] == math.inf
    assert math.isnan(figures["other"])


def test_a_damaged_file_is_named(make_job, folder):
    study = Study(make_job(), folder)
    tried(study, 1, 20000, 2.0)
    content = json.loads(folder.store.read("trials/0001.json"))
    content["status"] = "lost"
    folder.store.write("trials/0001.json", json.dumps(content).encode())
    with pytest.raises(StorageError, match=r"trials/0001\.json: not a study's file"):
        Study(make_job(), folder)
