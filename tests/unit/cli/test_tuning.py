"""`edge train` and `edge apply`, as a user types them."""

import json

import pytest

from sigdca.cli import main
from sigdca.edge import train_leg
from sigdca.edge.delta import apply_delta
from tests.bright import model, write_samples

TRAIN = ("edge", "train", "m.dca", "--data", "./bright", "-o", "d.dcd")
QUICK = ("--epochs", "5", "--learning-rate", "0.1")


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder with a model and samples; its exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.dca").write_bytes(model())
    write_samples(tmp_path / "bright")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return run


def test_from_a_board_to_a_container(sigdca, tmp_path):
    code, out, _ = sigdca(*TRAIN, *QUICK, "--json")
    told = json.loads(out)
    delta = (tmp_path / "d.dcd").read_bytes()
    assert (code, told["delta"], told["delta_bytes"]) == (0, "d.dcd", len(delta))
    assert told["evidence"]["num_right_after"] > told["evidence"]["num_right_before"]
    code, out, _ = sigdca("edge", "apply", "m.dca", "d.dcd", "-o", "new.dca", "--json")
    assert (code, json.loads(out)["delta_bytes"]) == (0, len(delta))
    assert (tmp_path / "new.dca").read_bytes() == apply_delta(model(), delta)
    code, _, err = sigdca("edge", "apply", "m.dca", "d.dcd", "-o", "new.dca")
    assert code == 0
    assert err.startswith("wrote new.dca: ")
    code, _, err = sigdca("edge", "apply", "new.dca", "d.dcd", "-o", "newer.dca")
    assert (code, err[:28]) == (2, "sigdca: delta: starts from t")
    assert not (tmp_path / "newer.dca").exists()


def test_without_gain_nothing_is_written(sigdca, tmp_path):
    code, out, _ = sigdca(*TRAIN, "--time-limit-s", "1e-6")
    assert (code, out[:35]) == (1, "no delta: nothing was better on 40 ")
    assert not (tmp_path / "d.dcd").exists()


def test_an_interrupt_leaves_nothing(sigdca, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_leg, "run_train_leg", interrupted)
    code, _, err = sigdca(*TRAIN)
    assert (code, err) == (3, "sigdca: edge train: interrupted; nothing was written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bright", "m.dca"]


def test_what_is_live_on_a_device_is_tuned(sigdca, tmp_path):
    assert sigdca("keygen", "k")[0] == 0
    target = ("--target", "atom-x5-e3940")
    assert sigdca("edge", "setup", "board", *target, "--key", "k.pub")[0] == 0
    signed = ("sign", "m.dca", "--key", "k.key", "--version", "1", *target, "-o", "1.dcu")
    assert sigdca(*signed)[0] == 0
    assert sigdca("edge", "update", "board", "1.dcu")[0] == 0
    rest = ("--data", "./bright", *QUICK)
    assert sigdca("edge", "train", "--device", "board", *rest, "-o", "live.dcd")[0] == 0
    assert sigdca(*TRAIN, *QUICK)[0] == 0
    assert (tmp_path / "live.dcd").read_bytes() == (tmp_path / "d.dcd").read_bytes()


def test_a_model_or_a_device(sigdca):
    code, _, err = sigdca("edge", "train", "--data", "./bright", "-o", "d.dcd")
    assert (code, err) == (2, "sigdca: edge train: give either a .dca or --device ROOT\n")
    assert sigdca(*TRAIN, "--device", "board")[0] == 2


def test_limits_are_said_in_the_units_of_the_options(sigdca):
    code, _, err = sigdca(*TRAIN, "--memory-limit-mb", "50")
    assert (code, err[:41]) == (2, "sigdca: train leg: memory limit 50 MB, th")
