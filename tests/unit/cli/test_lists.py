"""`targets probe` and `targets calibrate` without a name: the target that this board is."""

import json

import pytest

from sigdca.cli import main
from sigdca.errors import TargetError
from sigdca.targets import Finding, Target


@pytest.fixture
def tx2(monkeypatch):
    """A board that matches three targets."""
    names = ("cortex-a57", "jetson-tx2", "jetson-tx2-cpu")
    monkeypatch.setattr(Target, "why_not_here", lambda self: None if self.name in names else "")


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["targets", *arguments])
    return ended.value.code or 0


@pytest.mark.parametrize(
    ("arguments", "name", "code"),
    [([], "jetson-tx2", 0), (["cortex-a57"], "cortex-a57", 1)],
)
def test_a_board_is_probed_for_what_it_is(tx2, monkeypatch, capsys, arguments, name, code):
    def probe(target):
        return [Finding("cpu.cores", "6", "6", target.name == "jetson-tx2")]

    monkeypatch.setattr("sigdca.targets.probe", probe)
    assert run("probe", *arguments, "--json") == code
    assert list(json.loads(capsys.readouterr().out)) == [name]
    assert run("probe", *arguments) == code
    assert name in capsys.readouterr().out


def test_a_board_is_calibrated_as_what_it_is(tx2, monkeypatch, capsys, tmp_path):
    def calibrate(board, profile, tell):
        raise TargetError(f"measured {board.name}")

    monkeypatch.setattr("sigdca.targets.calibrate.calibrate", calibrate)
    assert run("calibrate", "-o", str(tmp_path / "out.json")) == TargetError.exit_code
    assert "measured jetson-tx2-cpu" in capsys.readouterr().err
