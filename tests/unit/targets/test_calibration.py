"""Calibration: a small file that says what it stands on, and predictions with its band."""

import json
from itertools import islice

import pytest

from sigdca.codec import inspect_container
from sigdca.errors import TargetError
from sigdca.targets import calibration_of, load_calibration, load_target, predict
from sigdca.targets.calibrate import calibrate
from sigdca.targets.calibration import Calibration, counts_of
from sigdca.targets.micro import micro_networks
from sigdca.targets.work import Step, steps_of

BOARD = load_target("atom-x5-e3940")


@pytest.fixture(scope="module")
def networks():
    return list(islice(micro_networks(), 24))


@pytest.fixture(scope="module")
def calibration(networks):
    patch = pytest.MonkeyPatch()
    patch.setattr(type(BOARD), "why_not_here", lambda _self: None)
    found = calibrate(BOARD, networks=networks, rounds=3)
    patch.undo()
    return found


def test_it_says_what_it_stands_on_and_is_small(calibration):
    text = calibration.model_dump_json()
    assert len(text) < 10_000
    told = json.loads(text)
    assert told["target"] == "atom-x5-e3940"
    assert told["profile"] == "exact"
    assert told["threads"] == 1
    assert 8 <= told["num_networks"] <= 24
    assert told["processor"]
    assert told["platform"]
    low, high = told["band"]
    assert 0 < low < high


def test_a_prediction_is_the_sum_of_its_steps_within_the_band(calibration, networks):
    info = inspect_container(networks[0])
    found = predict(BOARD, info, calibration)
    low, high = calibration.band
    assert found.method == "calibration"
    assert found.latency_us == pytest.approx(sum(step.latency_us for step in found.steps))
    assert found.low_us == pytest.approx(low * found.latency_us)
    assert found.high_us == pytest.approx(high * found.latency_us)
    roofline = predict(BOARD, info)
    assert roofline.method == "roofline"
    assert roofline.latency_us == pytest.approx(sum(step.latency_us for step in roofline.steps))


def test_only_the_board_itself_calibrates(networks):
    with pytest.raises(TargetError, match=r"^target 'jetson-tx2-cpu': a board calibrates itself"):
        calibrate(load_target("jetson-tx2-cpu"), networks=networks)


def test_a_calibration_is_of_one_target(calibration, networks):
    with pytest.raises(TargetError, match="the calibration is of 'atom-x5-e3940'"):
        predict(load_target("jetson-tx2-cpu"), inspect_container(networks[0]), calibration)


def test_a_step_that_it_says_nothing_of_is_refused(calibration, networks):
    poor = calibration.model_copy(update={"microseconds": {"input:": {"run": 1.0}}})
    with pytest.raises(TargetError, match="says nothing of 'fc"):
        predict(BOARD, inspect_container(networks[0]), poor)


def test_the_fastest_kernel_counts_but_not_one_that_may_not_unpack(calibration):
    kernels = {"fc:sparse-choice": {"run": 9.0}, "dense fc:": {"run": 5.0}}
    poor = calibration.model_copy(update={"microseconds": kernels})
    assert poor.time_us(Step("ip1", "fc", {"run": 1}, may_unpack=True)) == 5
    assert poor.time_us(Step("ip1", "fc wide", {"run": 1})) == 9


def test_a_kernel_of_small_layers_says_nothing_of_large_ones(calibration):
    kernels = {"conv:sparse": {"run": 9.0}, "conv:dense": {"run": 1.0}}
    largest = {"conv:sparse": 1e6, "conv:dense": 100.0}
    poor = calibration.model_copy(update={"microseconds": kernels, "largest": largest})
    small, large, beyond = (
        Step("conv1", "conv", {"run": 1, "dense_products": work}) for work in (150, 1e5, 1e9)
    )
    assert [poor.time_us(step) for step in (small, large, beyond)] == [1, 9, 9]


def test_what_no_cache_holds_takes_its_time_in_any_kernel(calibration):
    kernels = {"conv:dense": {"run": 1.0}, "memory:": {"far_bytes": 0.5}}
    far = calibration.model_copy(update={"microseconds": kernels, "largest": {}})
    assert far.time_us(Step("conv1", "conv", {"run": 1, "far_bytes": 10})) == 6


@pytest.mark.parametrize(
    ("kernel", "count"),
    [("int8-winograd", "tiles"), ("sparse", "products"), ("amx-int8", "dense_products")],
)
def test_kernels_grow_with_what_they_work_on(kernel, count):
    assert count in counts_of(Step("c", "conv", {}), kernel)[1]


def test_every_step_of_the_micro_networks_has_a_time(calibration, networks):
    for content in networks:
        steps = steps_of(inspect_container(content), calibration.isa, calibration.cache_bytes)
        assert all(calibration.time_us(step) is not None for step in steps)


def test_files_are_found_beside_a_target_or_in_the_folder(calibration, tmp_path, monkeypatch):
    text = calibration.model_dump_json()
    assert calibration_of(str(tmp_path / "mine.toml")) is None
    (tmp_path / "mine.calibration.json").write_text(text)
    assert calibration_of(str(tmp_path / "mine.toml")) == calibration
    monkeypatch.setenv("SIGDCA_CALIBRATIONS", str(tmp_path))
    assert calibration_of("atom-x5-e3940") is None
    (tmp_path / "atom-x5-e3940.calibration.json").write_text(text)
    assert calibration_of("atom-x5-e3940") == Calibration.model_validate_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"band": [0, 1]}, "band.0: Input should be greater than 0"),
        ({"microseconds": {"fc:": {"run": -1}}}, "microseconds.fc:.run: Input should be greater"),
        ({"threads": 2}, "threads: Input should be 1"),
        ({"median_error": None}, "median_error: "),
    ],
)
def test_a_wrong_file_is_explained(calibration, tmp_path, change, message):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(json.loads(calibration.model_dump_json()) | change))
    with pytest.raises(TargetError, match=message):
        load_calibration(path)
    with pytest.raises(TargetError, match=r"missing\.json: cannot be read"):
        load_calibration(tmp_path / "missing.json")
