"""What a study has chosen is tested on the job's targets when its trials are over."""

from dataclasses import replace

import pytest

from sigdca.edge.legs import device_required
from sigdca.job import parse_job
from sigdca.loop import forget_stale_proofs, proof, prove_chosen, unproven
from sigdca.search import FrontRecord, Rung, Settings, Study, StudyFolder
from sigdca.storage import open_store
from sigdca.targets import load_target

ATOM, TX2 = "atom-x5-e3940", "jetson-tx2"
JOB = f"""
name: s
model: lenet-300-100
data: {{source: mnist, limit: 50}}
train: {{}}
compress: {{recipe: [{{prune: {{sparsity: 0.9}}}}, encode]}}
search: {{space: {{seed: {{int: [1, 9]}}}}, num_trials: 3}}
targets: [{ATOM}, {TX2}]
budget: {{error: 5}}
"""
EXACT = replace(device_required(load_target(ATOM), "bits"), verdict="exact", evidence="isa")
NOWHERE = device_required(load_target(TX2), "run on the device")
WRONG = replace(EXACT, verdict="device-required", reason="beyond tolerance")


@pytest.fixture
def study(tmp_path):
    """Two trials, of 30 and of 20 bytes."""
    found = Study(parse_job(JOB, "s"), StudyFolder(open_store(str(tmp_path))))
    for number, size in ((1, 30), (2, 20)):
        container = found.folder.store.child("shared").put(size * b" ")
        figures = {"error": 1.0, "accuracy_drop": 0.0, "container_bytes": size}
        rung = Rung(share=1.0, figures=figures, container=container, run="r", duration_s=1.0)
        found.begin(number, "sampler", {"seed": number}, Settings())
        found.add(number, rung, {"node": "n", "site": "private", "price": 0.0}, ends=True)
    assert found.chosen.number == 2
    return found


@pytest.fixture
def legs(monkeypatch):
    """What targets answer, by the container's size; and what they were asked."""
    answers, asked = {}, []

    def legs_of(_executor, container, targets, _source, num_samples, _test, num_shares):
        asked.append((len(container), tuple(targets), num_samples))
        return {target: answers[len(container)][target] for target in targets}

    monkeypatch.setattr(proof, "legs_of", legs_of)
    return answers, asked


def words_of(study, number):
    return {target: said.words for target, said in study.trial(number).full.proofs.items()}


def test_the_chosen_one_is_tested_and_what_proved_nothing_is_asked_again(study, legs):
    answers, asked = legs
    answers[20] = {ATOM: EXACT, TX2: NOWHERE}
    told = []
    prove_chosen(study, None, told.append)
    assert told == [f"EDGE TEST of trial 2: {ATOM}, {TX2}"]
    assert asked == [(20, (ATOM, TX2), 50)]
    again = Study(study.job, study.folder)
    assert words_of(again, 2) == {ATOM: "exact (isa)", TX2: "device-required"}
    answers[20] = {TX2: replace(EXACT, evidence="device")}
    prove_chosen(again, None, told.append)
    assert asked[1:] == [(20, (TX2,), 50)]
    prove_chosen(again, None, told.append)
    assert len(asked) == 2, "all is known"
    assert words_of(again, 2) == {ATOM: "exact (isa)", TX2: "exact (device)"}


def test_other_images_or_limits_are_tested_again(study, legs):
    answers, asked = legs
    answers[20] = {ATOM: EXACT, TX2: EXACT}
    prove_chosen(study, None, print)
    for setting in ("edge_test.num_samples=20", "edge_test.memory_bytes=900000000"):
        other = Study(parse_job(JOB, "s", [setting]), study.folder)
        forget_stale_proofs(other)
        assert other.chosen.full.proofs == {}
        prove_chosen(other, None, print)
        forget_stale_proofs(other)
        prove_chosen(other, None, print)
    assert [num_samples for *_, num_samples in asked] == [50, 20, 50]


def test_where_a_board_is_required_an_emulation_proves_nothing(study, legs):
    answers, asked = legs
    required = Study(parse_job(JOB, "s", ["edge_test.require=device"]), study.folder)
    assert unproven(required) == tuple(
        f"target '{target}': has not been tested" for target in (ATOM, TX2)
    )
    answers[20] = {ATOM: EXACT, TX2: replace(EXACT, evidence="device")}
    prove_chosen(required, None, print)
    assert unproven(required) == (
        f"target '{ATOM}': exact on an emulation, where a board is required: bits",
    )
    assert unproven(study) == ()
    prove_chosen(required, None, print)
    assert asked[1:] == [(20, (ATOM,), 50)]


def test_what_differs_on_a_target_is_said_and_the_study_stays(study, legs):
    legs[0][20] = {ATOM: WRONG, TX2: NOWHERE}
    prove_chosen(study, None, print)
    assert words_of(study, 2) == {ATOM: "device-required (isa)", TX2: "device-required"}
    assert (study.chosen.number, study.trial(2).status) == (2, "done")


def test_what_is_no_target_of_the_job_any_more_is_forgotten(study, legs):
    legs[0][20] = {ATOM: EXACT, TX2: NOWHERE}
    prove_chosen(study, None, print)
    other = Study(parse_job(JOB, "s", [f"targets=[{ATOM}]"]), study.folder)
    forget_stale_proofs(other)
    assert words_of(other, 2) == {ATOM: "exact (isa)"}


def test_verdicts_do_not_open_a_study_that_is_over(study, legs):
    legs[0][20] = {ATOM: EXACT, TX2: NOWHERE}
    study.watchers.append(lambda *_: pytest.fail("no trial has changed"))
    study.save("done", "all trials are done")
    prove_chosen(study, None, print)
    assert study.folder.study().status == "done"
    assert study.chosen.full.proofs
    study.save("done", "all trials are done")
    front = FrontRecord.model_validate_json(study.folder.store.read("front.json"))
    assert [trial.full.proofs for trial in front.trials] == [study.chosen.full.proofs]


def test_nothing_was_chosen(tmp_path, legs):
    study = Study(parse_job(JOB, "s"), StudyFolder(open_store(str(tmp_path))))
    prove_chosen(study, None, pytest.fail)
    assert unproven(study) == ()
