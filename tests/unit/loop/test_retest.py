"""A retest tests now, whatever the ledger says, and its record says what failed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sigdca.codec import encode_container
from sigdca.edge.legs import LegResult
from sigdca.errors import JobError
from sigdca.job import parse_job
from sigdca.loop import retest_run
from sigdca.loop.network import graph_of, initial_model, state_of
from sigdca.search import Rung, StudyFolder, TrialRecord
from sigdca.storage import Ledger, Record, open_store
from sigdca.training import TestCounts

JOB = """
name: again
model: lenet-300-100
data: {source: mnist, limit: 200}
train: {epochs: 1}
targets: [atom-x5-e3940]
edge_test: {num_samples: 10}
budget: {error: 6, accuracy_drop: 1, container_bytes: 2000000}
"""
EXACT = LegResult("atom-x5-e3940", "exact", "isa", "every bit is equal", emulated=True, error=5.0)


class Told:
    """190 of 200 images are right, and the leg is as it was told."""

    def __init__(self, leg=EXACT, num_correct=190):
        self.leg, self.num_correct = leg, num_correct
        self.tested = 0

    def test(self, task):
        self.tested += 1
        return TestCounts(self.num_correct, np.zeros((200, 10), np.float32))

    def nodes_for(self, targets):
        return {}

    def edge_tests(self, tasks):
        return [self.leg for _ in tasks]


BEFORE = {"accuracy": 95.5, "accuracy_drop": 0.5}


@pytest.fixture
def folder(tmp_path):
    """A folder with a container that nothing is known of."""
    job = parse_job(JOB, "again.yaml")
    torch.manual_seed(0)
    model = initial_model(job)
    found = open_store(str(tmp_path)).child("again")
    found.write("model.dca", encode_container(graph_of(job, model), state_of(model)))
    return found


@pytest.fixture
def store(folder):
    """A run as `run_job` leaves it."""
    add_package(folder, folder.read("model.dca"), accuracy=95.5, accuracy_drop=0.5)
    return folder


def add_package(store, container, **metrics):
    ledger = Ledger(store)
    record = Record(
        number=len(ledger.records) + 1,
        key="k",
        stage="package",
        iteration=1,
        duration_s=0,
        metrics=metrics,
        artifact=store.put(container),
        seed=0,
    )
    ledger.append(record)


def retest(store, executor, *settings):
    return retest_run(parse_job(JOB, "again.yaml", settings), executor, store, None)


def test_it_tests_again_each_time_and_leaves_a_record(store):
    executor = Told()
    told = retest(store, executor)
    assert told.failures == ()
    assert told.figures["error"] == pytest.approx(5.0)
    assert told.figures["accuracy_drop"] == pytest.approx(1.0)
    tests = executor.tested
    retest(store, executor)
    assert executor.tested == 2 * tests
    kept = json.loads(store.read(told.name))
    assert (kept["legs"][0]["verdict"], kept["container"]) == ("exact", told.container)


def test_the_drop_is_against_what_this_container_was_made_from(store):
    """Another seed's run came later, and then this one's again."""
    add_package(store, b"another seed's", accuracy=99, accuracy_drop=0.1)
    assert retest(store, Told()).figures["accuracy_drop"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("executor", "failures"),
    [
        (
            Told(num_correct=180),
            ("budget accuracy_drop: at most 1, got 6", "budget error: at most 6, got 10"),
        ),
        (
            Told(replace(EXACT, verdict="device-required", reason="no QEMU")),
            ("target 'atom-x5-e3940': device-required: no QEMU",),
        ),
    ],
)
def test_what_fails_is_said(store, executor, failures):
    assert retest(store, executor).failures == failures


def test_what_is_required_may_be_more_than_an_emulation_proves(store):
    assert retest(store, Told(), "edge_test.require=isa").failures == ()
    (failure,) = retest(store, Told(), "edge_test.require=device").failures
    assert failure == (
        "target 'atom-x5-e3940': exact on an emulation, where a board is required: "
        "every bit is equal"
    )
    board = replace(EXACT, evidence="device", emulated=False)
    assert retest(store, Told(board), "edge_test.require=device").failures == ()


def test_frames_per_second_count_where_a_board_measured_them(store):
    board = replace(EXACT, evidence="device", emulated=False, latency_us=50_000.0)
    told = retest(store, Told(board), "budget={fps: 30}")
    assert told.failures == ("budget fps@atom-x5-e3940: at least 30, got 20",)
    assert retest(store, Told(), "budget={fps: 30}").failures == ()
    own = "budget={at: {atom-x5-e3940: {latency_us: 49000}}}"
    told = retest(store, Told(board), own)
    assert told.failures == ("budget latency_us@atom-x5-e3940: at most 49000, got 50000",)
    assert retest(store, Told(), own).failures == ()


def test_memory_counts_where_a_leg_measured_it_emulated_or_not(store):
    needs = replace(EXACT, memory_bytes=300_000)
    bound = "budget={at: {atom-x5-e3940: {memory_bytes: 299999}}}"
    (failure,) = retest(store, Told(needs), bound).failures
    assert failure == "budget memory_bytes@atom-x5-e3940: at most 299999, got 300000"
    assert retest(store, Told(), bound).failures == ()


def test_a_run_without_a_container_is_bad_input(tmp_path):
    with pytest.raises(JobError, match="holds no container yet; run the job first"):
        retest(open_store(str(tmp_path)).child("again"), Told())


def test_a_studys_container_is_held_against_its_own_trial(folder):
    study, digest = StudyFolder(folder), folder.put(folder.read("model.dca"))
    for number, container, drop in ((1, "0" * 64, 9.0), (2, digest, 0.5)):
        figures = BEFORE | {"accuracy_drop": drop}
        rung = Rung(share=1.0, figures=figures, container=container, run="r", duration_s=1)
        study.write_trial(TrialRecord(number=number, origin="sampler", rungs=(rung,)))
    told = retest(folder, Told())
    assert told.figures["accuracy_drop"] == pytest.approx(1.0)
    assert (told.container, told.failures) == (digest, ())
    assert folder.exists(told.name)


def test_a_container_that_the_run_has_not_made_is_bad_input(store):
    store.write("model.dca", b"copied here")
    with pytest.raises(JobError, match=r"model\.dca: is not of this run; run the job first"):
        retest(store, Told())
