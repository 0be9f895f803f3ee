"""`targets predict`: always marked as predicted, with a band, by whichever method there is."""

import json
from pathlib import Path

import pytest

from sigdca.cli import main
from sigdca.targets.calibration import Calibration
from sigdca.targets.micro import micro_networks


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.dca"
    path.write_bytes(next(iter(micro_networks())))
    return str(path)


@pytest.fixture
def board(tmp_path):
    path = tmp_path / "board.json"
    kernels = {"input:": {"run": 1.0}, "dense fc:": {"run": 2.0}, "fc:sparse-choice": {"run": 3.0}}
    calibration = Calibration(
        target="atom-x5-e3940",
        processor="Atom",
        platform="Linux",
        version="0",
        isa="sse4.2",
        profile="exact",
        cache_bytes=1e6,
        num_networks=9,
        median_error=0.1,
        band=(0.5, 2.0),
        microseconds=kernels,
    )
    path.write_text(calibration.model_dump_json())
    return str(path)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["targets", "predict", *arguments])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_with_a_calibration(model, board, capsys):
    code, out, _ = run(capsys, model, "atom-x5-e3940", "--calibration", board, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["predicted"], told["method"]) == (True, "calibration")
    assert told["latency_us"] == pytest.approx(sum(step["latency_us"] for step in told["steps"]))
    assert told["low_us"] == pytest.approx(0.5 * told["latency_us"])
    assert told["calibration"]["num_networks"] == 9
    _, out, _ = run(capsys, model, "atom-x5-e3940", "--calibration", board)
    assert "predicted for atom-x5-e3940" in out
    assert "calibration of Atom, 9 networks" in out


def test_without_one(model, capsys):
    code, out, _ = run(capsys, model, "atom-x5-e3940", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["predicted"], told["method"], told["calibration"]) == (True, "roofline", None)
    assert told["high_us"] == pytest.approx(16 * told["low_us"])
    assert told["memory_bytes"] > Path(model).stat().st_size
    _, out, _ = run(capsys, model, "atom-x5-e3940")
    assert f"predicted memory: {told['memory_bytes']:,} bytes" in out


def test_of_another_engine_no_memory_is_known(model, capsys):
    _, out, _ = run(capsys, model, "jetson-tx2", "--json")
    assert json.loads(out)["memory_bytes"] is None
    _, out, _ = run(capsys, model, "jetson-tx2")
    assert "memory" not in out


def test_another_targets_is_refused(model, board, capsys):
    code, out, err = run(capsys, model, "jetson-tx2-cpu", "--calibration", board, "--json")
    assert (code, out) == (2, "")
    assert "the calibration is of 'atom-x5-e3940'" in err
