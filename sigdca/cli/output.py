"""What the verbs show: progress for people on standard error, one JSON object for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sigdca.storage import Record

# No markup: names of layers, paths and reasons may hold brackets.
errors = Console(stderr=True, highlight=False, markup=False)
results = Console(highlight=False, markup=False)
LINE_EVERY_S = 60.0


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output, nothing else."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


class StageProgress:
    """Shows the stages as they pass: a line each, and a bar for epochs on a terminal."""

    def __init__(self) -> None:
        """Draws bars only where someone can see them."""
        self._bars: Progress | None = None
        self._told = 0.0
        self._num_epochs = 0

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """See `sigdca.loop.Progress`."""
        title = _title(stage, label, iteration)
        self._told, self._num_epochs = time.monotonic(), num_epochs
        if not errors.is_terminal:
            errors.print(f"{title} ...", soft_wrap=True)
            return
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=errors,
            transient=True,
        )
        self._bars.start()
        self._bars.add_task(title, total=num_epochs or None, note="")

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`; a line a minute where there is no terminal."""
        done = figures["epoch"] - 1 + figures["step"] / figures["num_steps"]
        note = f"{_pace(figures)}{_left(figures['left_s'])}"
        if self._bars is not None:
            note = f"epoch {figures['epoch']}, {note}"
            self._bars.update(self._bars.task_ids[0], completed=done, note=note)
        elif not errors.is_terminal and time.monotonic() - self._told >= LINE_EVERY_S:
            self._told = time.monotonic()
            place = f"epoch {figures['epoch']}, step {figures['step']} of {figures['num_steps']}"
            errors.print(f"  {place}: {note}", soft_wrap=True)

    def note(self, line: str) -> None:
        """See `sigdca.loop.Progress`; it stays above the bar."""
        errors.print(f"  {line}", soft_wrap=True)

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`."""
        self._told = time.monotonic()
        epoch_s = sum(figures[f"{part}_s"] for part in ("input", "compute", "communication"))
        left = _left((self._num_epochs - figures["epoch"]) * epoch_s)
        note = f"{_pace(figures)}{left}"
        if self._bars is not None:
            note = f"epoch {figures['epoch']}, {note}"
            self._bars.update(self._bars.task_ids[0], completed=figures["epoch"], note=note)
        elif not errors.is_terminal:
            errors.print(f"  epoch {figures['epoch']}: {note}", soft_wrap=True)

    def end(self, record: Record, reused: bool) -> None:
        """See `sigdca.loop.Progress`."""
        self.stop()
        title = _title(record.stage, record.label, record.iteration)
        seconds = "from the ledger" if reused else f"{record.duration_s:.1f} s"
        errors.print(f"{title}: {_figures(record)} ({seconds})", soft_wrap=True)

    def stop(self) -> None:
        """Takes the bar away, whatever state it is in."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _pace(figures: Mapping[str, Any]) -> str:
    """Loss and speed of a step or an epoch; the accuracy too, which an epoch has."""
    accuracy = figures.get("accuracy")
    known = "" if accuracy is None else f" accuracy {accuracy:.2f} %,"
    return f"loss {figures['loss']:.4f},{known} {figures['images_per_s']:,.0f} images/s"


def _left(seconds: float) -> str:
    """The time left, as in `, 0:03:05 left`; nothing where none is."""
    return f", {timedelta(seconds=round(seconds))} left" if seconds > 0 else ""


_SHOWN = {
    "error": "error {:.2f} %",
    "loss": "loss {:.4f}",
    "sparsity": "sparsity {:.4f}",
    "container_bytes": "{:,} bytes",
    "verdict": "{}",
    "reason": "{}",
}


def _figures(record: Record) -> str:
    shown = [
        text.format(record.metrics[name])
        for name, text in _SHOWN.items()
        if record.metrics.get(name) is not None
    ]
    return ", ".join(shown) or record.status


def _title(stage: str, label: str, iteration: int) -> str:
    return f"{stage.upper()}{f' {label}' if label else ''} #{iteration}"
