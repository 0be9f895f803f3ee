"""What a person sees while a stage trains."""

import io

import pytest
from rich.console import Console

from sigdca.cli import output

STEP = {"epoch": 2, "step": 50, "num_steps": 200, "loss": 0.5, "images_per_s": 1234.5}
STEP |= {"left_s": 184.6}
EPOCH = {"epoch": 3, "loss": 0.25, "images_per_s": 1500.0, "accuracy": 91.256}
EPOCH |= {"input_s": 10.0, "compute_s": 4000.0, "communication_s": 90.0}


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
    assert "epoch 2, loss 0.5000, 1,234 images/s, 0:03:05 left" in text.getvalue()


def test_a_narrow_terminal_still_has_the_time_left(monkeypatch):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(output, "errors", console)
    progress = output.StageProgress()
    progress.begin("retrain", "quantize", 2, 4)
    progress.step(STEP)
    progress._bars.refresh()
    progress.stop()
    assert "left" in text.getvalue()


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
    shown = "  epoch 2, step 50 of 200: loss 0.5000, 1,234 images/s, 0:03:05 left"
    assert lines[1:] == [shown] * 2


def test_a_log_has_a_line_an_epoch_with_the_time_left(shown):
    text = shown(False)
    progress = output.StageProgress()
    progress.begin("train", "", 1, 4)
    progress.epoch(EPOCH)
    progress.epoch(EPOCH | {"epoch": 4, "accuracy": None})  # of an older version, at the end
    assert text.getvalue().splitlines()[1:] == [
        "  epoch 3: loss 0.2500, accuracy 91.26 %, 1,500 images/s, 1:08:20 left",
        "  epoch 4: loss 0.2500, 1,500 images/s",
    ]
