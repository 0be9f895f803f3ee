import json

import pytest
from pydantic import ValidationError

from sigdca.errors import FormatError
from sigdca.report import Epoch, TestPoint, dump_report, validate_report


def test_json_round_trip_keeps_everything(any_report):
    report = validate_report(any_report)
    again = json.loads(dump_report(report))
    assert again["schema"] == 1
    assert validate_report(again) == report


def test_a_report_passes_through_validation(lenet_5):
    report = validate_report(lenet_5)
    assert validate_report(report) is report


def test_reports_are_frozen(lenet_5):
    report = validate_report(lenet_5)
    with pytest.raises(ValidationError, match="frozen"):
        report.name = "other"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nmae",), "x", "nmae: Extra inputs"),
        (("status",), "finished", "status: Input should be 'done'"),
        (("schema",), 2, "schema: Input should be 1, got 2"),
        (("best", "sha256"), "abc", "best.sha256: "),
        (("best", "error"), 101.0, r"best.error: .*less than or equal to 100, got 101.0"),
        (("best", "error"), float("nan"), "best.error: .*finite"),
        (("test_points", 0, "stage"), "polish", r"test_points.0.stage: .*got 'polish'"),
        (("layers", 1, "bytes"), -1, "layers.1.bytes: .*got -1"),
        (("command",), ["x" * 500], r"command: .*\.\.\.$"),
    ],
)
def test_a_fault_is_one_line_that_names_the_place(lenet_300_100, path, value, message):
    place = lenet_300_100
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(FormatError, match=message) as caught:
        validate_report(lenet_300_100)
    assert str(caught.value).startswith("report.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evidence": "device"}, "cannot come from an emulation"),
        ({"evidence": None}, "verdict 'tolerance' needs evidence"),
        ({"verdict": "exact"}, "the two logits hashes differ"),
    ],
)
def test_a_verdict_never_exceeds_its_evidence(lenet_300_100, changes, message):
    lenet_300_100["targets"][0].update(changes)
    with pytest.raises(FormatError, match=message):
        validate_report(lenet_300_100)


def test_hashes_agree_only_when_both_are_known(lenet_5):
    emulated, missing, device = validate_report(lenet_5).targets
    assert (emulated.hashes_agree, missing.hashes_agree, device.hashes_agree) == (
        False,
        None,
        True,
    )


def test_a_report_from_before_epochs_had_an_accuracy_is_read(lenet_5):
    new = validate_report(lenet_5)
    old = json.loads(dump_report(new))
    for point in old["test_points"]:
        for epoch in point["epochs"]:
            epoch["error"] = None
    assert validate_report(old) == new
    old["test_points"][0]["epochs"][0]["error"] = 1.0
    with pytest.raises(FormatError, match="error: Extra inputs"):
        validate_report(old)


def test_a_diverged_run_can_still_be_reported():
    epoch = Epoch(epoch=1, loss=float("nan"), images_per_s=10.0)
    assert epoch.loss is None
    point = TestPoint(
        number=1, stage="train", iteration=1, duration_s=1.0, metrics={"loss": float("inf")}
    )
    assert point.metrics == {"loss": "inf"}


def test_metrics_keep_their_types():
    point = TestPoint(
        number=1,
        stage="train",
        iteration=1,
        duration_s=0,
        metrics={"a": True, "b": 1, "c": 1.0, "d": "x"},
    )
    assert [type(value) for value in point.metrics.values()] == [bool, int, float, str]
