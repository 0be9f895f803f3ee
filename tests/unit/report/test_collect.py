"""From a run's folder to its report: of its own job alone, and at its end only when it is."""

import pytest

from sigdca.errors import SigdcaError
from sigdca.job import parse_job
from sigdca.loop import run_job
from sigdca.report import collect_report
from sigdca.storage import Ledger, Record, open_store
from tests.unit.loop.test_run import JOB, Quiet, ToldExecutor, run

ALONE = "targets=[]"
ACCURATE = """
name: t
model: lenet-300-100
data: {source: mnist}
train: {accuracy_at_least: 99.2}
"""


class Broken(ToldExecutor):
    """Is gone when there is nothing left to tell."""

    def train(self, task, observer):
        if not self.num_correct:
            raise SigdcaError("the cluster is gone")
        return super().train(task, observer)


def report(folder):
    return collect_report(open_store(str(folder)).child("told"), "sigdca run")


def fail(folder, num_correct, *settings):
    store = open_store(str(folder)).child("told")
    with pytest.raises(SigdcaError, match="the cluster is gone"):
        run_job(parse_job(JOB, "told.yaml", settings), Broken(num_correct), store, Quiet())


def stages(found):
    return [point.stage for point in found.test_points]


def test_a_run_that_met_its_budget_is_done(tmp_path):
    outcome, *_ = run(tmp_path, [190, 180, 185, 185])
    found = report(tmp_path)
    assert (found.status, found.best.sha256) == ("done", outcome.best.container)
    assert len(found.test_points) == 11
    assert {target.verdict for target in found.targets} == {"device-required"}


def test_a_run_with_other_settings_that_failed_is_not_done_by_the_one_before(tmp_path):
    run(tmp_path, [190, 180, 185], ALONE)
    fail(tmp_path, [], ALONE, "seed=1")
    found = report(tmp_path)
    assert (found.seed, found.status) == (1, "incomplete")
    assert (found.baseline, found.best, found.layers, found.test_points) == (None, None, (), ())


def test_the_baseline_is_the_jobs_own(tmp_path):
    run(tmp_path, [190, 180, 185], ALONE)
    run(tmp_path, [180, 178, 179], ALONE, "seed=1")
    found = report(tmp_path)
    assert (found.status, found.baseline.accuracy) == ("done", 90.0)
    assert found.baseline.accuracy - found.best.accuracy == pytest.approx(0.5)
    assert found.best.accuracy_drop == pytest.approx(0.5)
    run(tmp_path, [], ALONE)  # the first one again, from the ledger
    again = report(tmp_path)
    assert (again.seed, again.baseline.accuracy, again.best.accuracy) == (0, 95.0, 92.5)
    assert len(again.test_points) == 8


def test_a_run_that_fell_between_iterations_has_not_ended(tmp_path):
    settings = ALONE, "budget.error=1", "compress.iterations=2"
    fail(tmp_path, [190, 180, 185], *settings)
    found = report(tmp_path)
    assert (found.status, found.best.iteration) == ("incomplete", 1)
    run(tmp_path, [150, 150], *settings)
    assert report(tmp_path).status == "budget-not-met"


@pytest.mark.parametrize(
    ("verb", "settings", "status"),
    [("test", (), "incomplete"), ("retest", (), "incomplete"), ("retest", (ALONE,), "done")],
)
def test_a_run_that_was_asked_for_less_has_not_ended(tmp_path, verb, settings, status):
    run(tmp_path, [190, 180, 185], *settings, until=verb)
    assert report(tmp_path).status == status


def test_a_run_without_the_evidence_that_is_required_is_not_done(tmp_path):
    settings = "targets=[atom-x5-e3940]", "edge_test.require=isa"
    outcome, *_ = run(tmp_path, [190, 180, 185, 185], *settings)
    assert len(outcome.unproven) == 1
    assert report(tmp_path).status == "not-proven"
    run(tmp_path, [185], settings[0])
    assert report(tmp_path).status == "done"


@pytest.mark.parametrize(("error", "status"), [(6, "done"), (4, "budget-not-met")])
def test_a_job_that_does_not_compress_ends_with_test(tmp_path, error, status):
    settings = "compress=null", f"budget={{error: {error}, container_bytes: 1000}}"
    outcome, *_ = run(tmp_path, [190], *settings)
    found = report(tmp_path)
    assert found.status == status
    assert outcome.meets_budget == (status == "done")
    assert stages(found) == ["train", "test"]
    size = found.budget[1]
    assert (size.name, size.met, size.note) == ("container_bytes", None, "there is no container")


def test_a_run_from_before_there_were_walks_is_read(tmp_path):
    run(tmp_path, [190, 180, 185, 185])
    expected = report(tmp_path)
    (tmp_path / "told/walk.json").unlink()
    assert report(tmp_path) == expected


@pytest.fixture
def tested(tmp_path):
    """A run after two iterations of TRAIN and TEST; the report on it."""
    store = open_store(str(tmp_path))

    def collect(job, *accuracies):
        store.write("job.yaml", job.encode())
        for iteration, accuracy in enumerate(accuracies, 1):
            metrics = {"accuracy": accuracy, "error": 100 - accuracy, "num_samples": 10_000}
            metrics |= {"dense_bytes": 4, "num_parameters": 1}
            record = Record(
                number=iteration,
                key=str(iteration),
                stage="test",
                iteration=iteration,
                duration_s=1.0,
                metrics=metrics,
                seed=0,
            )
            Ledger(store).append(record)
        return collect_report(store, "sigdca train job.yaml")

    return collect


def test_an_accuracy_that_was_not_reached_is_a_missed_bound(tested):
    (line,) = tested(ACCURATE, 97.1, 96.0).budget
    assert (line.name, line.value, line.bound, line.met) == ("accuracy", 97.1, 99.2, False)
    assert line.note == "train.accuracy_at_least 99.2 was not reached in 2 iterations"


def test_one_that_was_reached_is_met(tested):
    (line,) = tested(ACCURATE, 97.1, 99.3).budget
    assert (line.value, line.met, line.note) == (99.3, True, "")


def test_without_one_there_is_no_line(tested):
    assert tested(ACCURATE.replace("accuracy_at_least: 99.2", ""), 97.1).budget == ()
