"""What a person sees while a stage trains."""

import io

import pytest
from rich.console import Console

from sigdca.cli import output

STEP = {"epoch": 2, "step": 50, "num_steps": 200, "loss": 0.5, "images_per_s": 1234.5}


@pytest.fixture
def shown(monkeypatch):
    """Makes standard error a terminal or a file; gives what was written there."""

    def make(terminal):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
        monkeypatch.setattr(output, "errors", console)
        return text

    return make


def test_a_terminal_has_a_bar_with_rate_and_time_left(shown):
    text = shown(True)
    progress = output.StageProgress()
    progress.begin("train", "", 1, 4)
    progress.step(STEP)
    progress._bars.refresh()
    task = progress._bars.tasks[0]
    assert task.completed == pytest.approx(1.25)
    assert task.total == 4
    progress.stop()
    assert "epoch 2, loss 0.5000, 1,234 images/s" in text.getvalue()


def test_a_log_has_a_line_a_minute(shown, monkeypatch):
    text = shown(False)
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    progress = output.StageProgress()
    progress.begin("retrain", "prune", 3, 4)
    for now[0] in (101.0, 159.0, 160.5, 161.0, 221.0):
        progress.step(STEP)
    lines = text.getvalue().splitlines()
    assert lines[0] == "RETRAIN prune #3 ..."
    assert lines[1:] == ["  epoch 2, step 50 of 200: loss 0.5000, 1,234 images/s"] * 2
