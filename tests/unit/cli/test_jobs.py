"""`run`, `train` and `compress`, as a user types them, without a cluster."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from sigdca.cli import jobs, main
from sigdca.cli.jobs import _exit_code
from sigdca.job import parse_job
from sigdca.job.budget import BudgetLine
from sigdca.loop import Candidate, Outcome
from sigdca.storage import Record, open_store
from sigdca.training import TestCounts
from tests.images import write_data_set
from tests.unit.loop.test_watch import Told

JOB = """
name: t
model: tests.tiny:Tiny
data: {source: ./old}
train: {epochs: 1, batch_size: 20, iterations: 2}
compress: {iterations: 1, recipe: [encode]}
"""


class Cluster(Told):
    """Seven of ten test images are right, whatever is tested."""

    cluster = SimpleNamespace(address="nowhere")

    def test(self, task):
        return TestCounts(7, np.zeros((10, 10), np.float32))


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    """Runs a verb on the job with settings; its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "old", {"train": [20], "test": [10]})
    (tmp_path / "t.yaml").write_text(JOB)

    @contextlib.contextmanager
    def connected(job, address):
        yield Cluster()

    monkeypatch.setattr(jobs, "_connected", connected)

    def run(verb, *settings):
        command = [verb, "t.yaml", "--json"]
        for setting in settings:
            command += ["--set", setting]
        with pytest.raises(SystemExit) as caught:
            main(command)
        told = capsys.readouterr()
        return int(caught.value.code or 0), json.loads(told.out), told.err

    return run


@pytest.mark.parametrize(("verb", "status"), [("train", "incomplete"), ("run", "budget-not-met")])
def test_an_accuracy_that_was_not_reached_is_said_and_exit_code_1(sigdca, verb, status):
    code, report, err = sigdca(verb, "train.accuracy_at_least=80")
    assert code == 1
    assert "accuracy 70 %, train.accuracy_at_least 80 was not reached in 2 iterations" in err
    assert [line["name"] for line in report["budget"] if line["met"] is False] == ["accuracy"]
    assert report["status"] == status
    assert (report["best"] is None) == (verb == "train"), "a run goes on to its container"


def test_one_that_was_reached_is_exit_code_0(sigdca):
    code, _, err = sigdca("train", "train.accuracy_at_least=70")
    assert code == 0
    assert "not reached" not in err


@pytest.mark.parametrize("model", ["Tiny", "Normed"])
def test_trained_weights_are_a_file_that_a_job_takes(sigdca, tmp_path, model):
    network = f"model=tests.tiny:{model}"
    _, _, err = sigdca("train", network)
    file = tmp_path / "runs/t/model.safetensors"
    assert "trained weights: runs/t/model.safetensors" in err
    first = file.read_bytes()
    code, _, _ = sigdca("train", network, "name=u", f"weights={file}", "train.epochs=0")
    assert code == 0
    assert (tmp_path / "runs/u/model.safetensors").read_bytes() == first


def test_a_run_that_compresses_names_its_container_alone(sigdca, tmp_path):
    _, _, err = sigdca("compress")
    assert "weights" not in err
    assert (tmp_path / "runs/t/model.safetensors").is_file()


def test_a_missed_budget_names_the_best_container_where_it_lies(sigdca, tmp_path):
    code, _, err = sigdca("compress", "budget.container_bytes=1")
    assert code == 1
    (line,) = (line for line in err.splitlines() if line.startswith("the budget was not met"))
    assert line == "the budget was not met; the best so far is in runs/t/model.dca"
    assert (tmp_path / "runs/t/model.dca").is_file()


@pytest.mark.parametrize("there_is_one", [False, True])
def test_without_a_container_none_is_named(there_is_one, capsys, tmp_path):
    lines = [BudgetLine("error", 1.0, 2.0, False)]
    test = Record(number=1, key="k", stage="test", iteration=1, duration_s=0, seed=0)
    container = Candidate(1, "", {}, lines) if there_is_one else None
    outcome = Outcome("", test, container, [], None, lines=() if there_is_one else lines)
    assert _exit_code(parse_job(JOB, "t.yaml"), outcome, open_store(str(tmp_path))) == 1
    said = capsys.readouterr().err
    assert said.startswith("the budget was not met")
    assert ("model.dca" in said) == there_is_one
