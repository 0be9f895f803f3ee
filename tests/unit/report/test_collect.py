"""What a run's folder tells its report."""

import pytest

from sigdca.report import collect_report
from sigdca.storage import Ledger, Record, open_store

JOB = """
name: t
model: lenet-300-100
data: {source: mnist}
train: {accuracy_at_least: 99.2}
"""


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
    (line,) = tested(JOB, 97.1, 96.0).budget
    assert (line.name, line.value, line.bound, line.met) == ("accuracy", 97.1, 99.2, False)
    assert line.note == "train.accuracy_at_least 99.2 was not reached in 2 iterations"


def test_one_that_was_reached_is_met(tested):
    (line,) = tested(JOB, 97.1, 99.3).budget
    assert (line.value, line.met, line.note) == (99.3, True, "")


def test_without_one_there_is_no_line(tested):
    assert tested(JOB.replace("accuracy_at_least: 99.2", ""), 97.1).budget == ()
