"""What holds for every verb: exit codes, Ctrl-C, and names that are shown as they are."""

import pytest
import typer

from sigdca.cli import RESUMABLE, app, containers, main
from tests.bright import model


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return caught.value.code or 0


def test_brackets_in_a_name_are_no_markup(tmp_path, capsys):
    path = tmp_path / "a[best][bold].dca"
    path.write_bytes(model())
    assert run("inspect", str(path)) == 0
    assert "a[best][bold].dca" in capsys.readouterr().out.replace("\n", "")


def test_a_fault_of_our_own_is_not_a_budget_that_was_not_met(tmp_path, capsys, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr(containers, "_describe", broken)
    (tmp_path / "m.dca").write_bytes(model())
    assert run("inspect", str(tmp_path / "m.dca")) == 3
    assert "ZeroDivisionError: of our own" in capsys.readouterr().err


def test_a_folder_without_a_run_is_bad_input(tmp_path, capsys):
    assert run("report", str(tmp_path / "none")) == 2
    assert "none: holds neither a run (job.yaml) nor a study" in capsys.readouterr().err


def test_ctrl_c_promises_resume_only_to_verbs_whose_work_it_stops(tmp_path, capsys, monkeypatch):
    verbs = typer.main.get_command(app).commands.items()
    resuming = {name for name, verb in verbs if any("--resume" in one.opts for one in verb.params)}
    assert set(RESUMABLE) == resuming - {"submit"}, "a submitted job goes on"

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(containers, "_describe", interrupted)
    (tmp_path / "m.dca").write_bytes(model())
    assert run("inspect", str(tmp_path / "m.dca")) == 3
    assert capsys.readouterr().err.strip() == "sigdca: interrupted"
