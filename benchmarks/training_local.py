"""`sigdca train` without Ray: the job of `training_accuracy.py` in the local executor.

python training_local.py JOB FOLDER   prints the accuracy as JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sigdca.job import parse_job
from sigdca.loop import LocalExecutor, check_job, run_job
from sigdca.storage import Record, open_store


class Silent:
    """Watches a run and says nothing."""

    def begin(self, stage: str, label: str, iteration: int, num_epochs: int) -> None:
        """See `sigdca.loop.Progress`."""

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`."""

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `sigdca.loop.Progress`."""

    def note(self, line: str) -> None:
        """See `sigdca.loop.Progress`."""

    def end(self, record: Record, reused: bool) -> None:
        """See `sigdca.loop.Progress`."""


def main(path: str, folder: str) -> None:
    """Runs TRAIN and TEST."""
    torch.set_num_threads(1)
    job = parse_job(Path(path).read_text(), path)
    check_job(job, path)
    outcome = run_job(job, LocalExecutor(), open_store(folder), Silent(), "test")
    json.dump({"accuracy": outcome.baseline.metrics["accuracy"]}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
