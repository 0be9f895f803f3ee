"""Of which time the benchmark of a search says how much of the cores was at work."""

import os
from pathlib import Path

import pytest

from sigdca.search import StudyFolder, StudyRecord
from sigdca.storage import open_store
from tests.conftest import ROOT


def test_all_of_a_studys_time_counts_not_only_that_of_its_trials(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import search

    outcome = StudyRecord(name="n", job="", status="done", elapsed_s=100.0)
    StudyFolder(open_store(str(tmp_path))).write_study(outcome)
    os.utime(tmp_path / "study.json", (1000.0, 1000.0))
    spans = []

    class Clock:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def share(self, start, end):
            spans.append((start, end))
            return 0.96

    monkeypatch.setattr(search, "CpuClock", Clock)
    monkeypatch.setattr(search, "ended_study", lambda *_: tmp_path)
    claim = search.busy(Path("j.yaml"), tmp_path, 600)
    assert spans == [(900.0, 1000.0)]
    assert (claim.value, claim.ok) == (pytest.approx(96.0), True)
