"""SEARCH by Ray Tune: the same trials again, each a run of its own, nothing done twice."""

import re
import shutil
import threading

import pytest

from sigdca.codec import inspect_container
from sigdca.distributed import run_search
from sigdca.distributed.search import run_trials
from sigdca.distributed.trial import Silent, TrialSpec
from sigdca.errors import SigdcaError, StorageError
from sigdca.job import load_job, parse_job
from sigdca.loop import run_job
from sigdca.search import FrontRecord, Study, StudyFolder
from sigdca.storage import open_store

JOB = """
name: study
model: lenet-300-100
data: {source: mnist, limit: 600}
train: {workers: 2, epochs: 1, batch_size: 50, learning_rate: 0.1}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 2, learning_rate: 0.05}
    - share: {bits: 4, epochs: 0}
    - encode
search:
  space:
    compress.recipe.0.prune.sparsity.ip1: {uniform: [0.7, 0.99]}
    compress.recipe.0.prune.learning_rate: {choice: {tame: {value: 0.05}, wild: {value: 1.0e+12}}}
    compress.recipe.1: {optional: {compress.recipe.1.share.bits: {int: [2, 6]}}}
  num_trials: 9
  max_concurrent: 1
  sensitivity_images: 100
  fidelities: [0.0, 1.0]
budget: {container_bytes: 60000}
"""


def run_study(executor, folder, settings=()):
    store = open_store(str(folder))
    store.write("job.yaml", JOB.encode())
    study = Study(parse_job(JOB, "study.yaml", settings), StudyFolder(store))
    return study, run_search(executor, study, store, print)


@pytest.fixture(scope="module")
def finished(executor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    study, outcome = run_study(executor, folder)
    return folder, study, outcome


def trials_of(study):
    return [
        (trial.number, trial.status, trial.point, [rung.container for rung in trial.rungs])
        for trial in study.trials()
    ]


def test_the_first_trial_is_the_job_itself_and_failures_are_kept(finished):
    folder, study, outcome = finished
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(1, 10))
    assert (trials[0].origin, trials[0].status) == ("job", "done")
    assert trials[0].values["compress.recipe.0.prune.sparsity.ip1"] == 0.9
    failed = [trial for trial in trials if trial.status == "failed"]
    assert failed, "no trial with a learning rate of 1e12"
    assert "the loss is" in failed[0].reason
    assert failed[0].values["compress.recipe.0.prune.learning_rate"] == 1e12
    assert {trial.site for trial in trials if trial.rungs} == {"private"}
    assert outcome.status == "done"
    assert outcome.meets_budget
    content = (folder / "model.dca").read_bytes()
    best = trials[outcome.chosen - 1]
    assert inspect_container(content).container_bytes == best.full.figures["container_bytes"]
    front = FrontRecord.model_validate_json((folder / "front.json").read_text())
    assert sorted(path.name for path in (folder / "front").iterdir()) == sorted(
        f"{trial.number:04d}.dca" for trial in front.trials
    )


def test_a_trials_own_job_file_gives_the_same_container(executor, finished, tmp_path):
    folder, study, _ = finished
    run = folder / study.chosen.full.run
    job = load_job(run / "job.yaml")
    assert job.search is None
    store = open_store(str(tmp_path))
    again = run_job(job, executor, store, Silent(), "retest")
    assert again.best.container == study.chosen.full.container
    assert store.read("model.dca") == (folder / "model.dca").read_bytes()


def test_a_study_goes_on_from_its_files_and_does_nothing_twice(executor, finished, tmp_path):
    folder, study, _ = finished
    copy = tmp_path / "study"
    shutil.copytree(folder, copy)
    done = {path: path.stat().st_mtime_ns for path in (copy / "shared" / "index").iterdir()}
    # As a kill leaves it: the last trial not drawn, the one before cut off, no word of its end.
    (copy / "trials" / "0009.json").unlink()
    cut = StudyFolder(open_store(str(copy)))
    before = study.trial(8)
    cut.write_trial(before.model_copy(update={"status": "running", "rungs": (), "ended": None}))
    again, _ = run_study(executor, copy)
    assert again.trial(8).point == before.point
    assert [rung.container for rung in again.trial(8).rungs] == [
        rung.container for rung in before.rungs
    ]
    assert len(again.trials()) == 9
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert trials_of(again)[:8] == trials_of(study)[:8]
    more, _ = run_study(executor, copy)
    assert trials_of(more) == trials_of(again), "it was at its end"


def test_the_same_job_one_worker_and_one_seed_give_the_same_trials(executor, finished, tmp_path):
    _, study, _ = finished
    again, _ = run_study(executor, tmp_path)
    assert trials_of(again) == trials_of(study)


def test_a_server_that_does_not_see_the_study_is_said(executor, tmp_path, monkeypatch):
    monkeypatch.setattr("sigdca.distributed.search._sees", lambda *_: (False, "", ""))
    with pytest.raises(SigdcaError, match=r"^storage: .* is not to be seen on node "):
        run_study(executor, tmp_path)


def test_a_fault_of_the_machine_is_not_the_trials(executor, tmp_path):
    mark = tmp_path / "mark"
    figures = {"error": 1.0, "accuracy": 99.0, "accuracy_drop": 0.0, "container_bytes": 9}

    def work(_spec, number, _point, _share):
        if number == 1 and not mark.exists():
            mark.touch()
            raise StorageError("/nfs: cannot write: No space left on device")
        if number == 2:
            raise ValueError("shapes do not go together")
        return {"figures": figures, "predicted": [], "container": empty, "run": "", "failed": ""}

    store = open_store(str(tmp_path / "study"))
    empty = store.child("shared").put(b"")
    settings = ["search.num_trials=3", "search.sampler=random", "search.fidelities=[1.0]"]
    study = Study(parse_job(JOB, "study.yaml", settings), StudyFolder(store))
    spec = TrialSpec(study.job, study.search.space, store, work)
    lock = threading.Lock()  # as a live table has
    study.watchers.append(lambda *_: lock.acquire(blocking=False))
    assert not run_trials(executor.cluster, study, spec, None, [], lambda _: lock.locked())
    assert [trial.status for trial in study.trials()] == ["done", "failed", "done"]
    assert study.trial(2).reason == "ValueError: shapes do not go together"


def test_what_is_at_work_counts_and_is_paid_for(executor, tmp_path):
    settings = ["search.prices={private: 3600}", "search.cost=0.01", "search.sensitivity_images=0"]
    study, outcome = run_study(executor, tmp_path, settings)
    assert re.fullmatch(r"cost: [\d.]+ of 0\.01 are spent", outcome.why)
    (cut,) = study.trials()
    assert (cut.status, cut.reason, cut.site) == ("stopped", outcome.why, "private")
    assert cut.rungs == (), "it was in the middle of its first fidelity"
    assert outcome.cost == cut.cost == pytest.approx(cut.duration_s, abs=1e-3)
    assert cut.cost >= 0.01


def test_one_objective_is_ashas(executor, tmp_path):
    settings = ["search.objectives={container_bytes: min}", "search.num_trials=4"]
    settings += ["search.sensitivity_images=0", "search.fidelities=[0.0, 0.5, 1.0]"]
    settings += ["search.space={compress.recipe.0.prune.sparsity.ip1: {uniform: [0.7, 0.99]}}"]
    study, outcome = run_study(executor, tmp_path, settings)
    assert set(outcome.num_trials) <= {"done", "pruned"}
    assert sum(outcome.num_trials.values()) == 4
    assert [rung.share for rung in study.trial(1).rungs] == [1.0]
    assert {rung.share for rung in study.trial(2).rungs} >= {0.0, 0.5}, "the first goes on"
    full = [trial.full.figures for trial in study.trials() if trial.full]
    sizes = [each["container_bytes"] for each in full if each["error"] <= full[0]["error"]]
    assert study.chosen.full.figures["container_bytes"] == min(sizes)
