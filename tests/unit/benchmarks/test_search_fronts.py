"""What the benchmark of fronts says of them."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from sigdca.search import FrontRecord, Rung, StudyFolder, StudyRecord, TrialRecord
from sigdca.storage import open_store
from tests.conftest import ROOT


@pytest.fixture
def fronts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import search_fronts

    return search_fronts


@pytest.mark.parametrize(
    ("ours", "random", "times"),
    [
        ([(0.4, 500.0)], [(0.7, 500.0)], 2.0),
        ([(0.4, 500.0)], [(1.2, 500.0)], 1000.0),
        ([(0.4, 500.0)], [(0.99999, 999.99)], 1000.0),
        ([(1.2, 500.0)], [(1.2, 500.0)], 1.0),
        ([(1.2, 500.0)], [(0.4, 500.0)], 0.0),
    ],
    ids=["both", "ours alone", "nearly ours alone", "neither", "random's alone"],
)
def test_a_front_that_meets_no_budget_is_a_number_too(fronts, ours, random, times):
    sides = {"ours": ours, "random": random, "tpe": ours}
    claims = fronts._claims("n", [fronts.Seed((1.2, 2000.0), (1.0, 1000.0), sides)], 0.74)
    (found,) = [claim for claim in claims if claim.against == "random"]
    assert found.value == pytest.approx(times)
    assert found.ok == (times >= 1.3)
    json.dumps([asdict(claim) for claim in claims], allow_nan=False)


class Command:
    """In place of `sigdca search` and `git`: what the first leaves, and what the second says."""

    def __init__(self):
        self.calls, self.status, self.commit = [], "done", "aaaaaaa"

    def run(self, command, **_):
        if command[0] == "git":
            return SimpleNamespace(stdout=f"{self.commit}\n")
        options = dict(
            one.split("=", 1) for one in command if one.startswith(("name=", "storage="))
        )
        folder = StudyFolder(open_store(f"{options['storage']}/{options['name']}"))
        figures = {"error": 0.5, "container_bytes": 9.0}
        rung = Rung(share=1.0, figures=figures, container="c", run="r", duration_s=1.0)
        record = TrialRecord(number=1, origin="job", status="done", rungs=(rung,))
        folder.write_trial(record)
        folder.write_front(FrontRecord(objectives={}, trials=(record,)))
        folder.write_study(StudyRecord(name="n", job="", status=self.status))
        plain = command[1].endswith("search_plain.py")
        self.calls.append(("plain" if plain else "ours", "--resume" in command))
        return SimpleNamespace(returncode=0, stderr="")


@pytest.fixture
def command(fronts, monkeypatch, tmp_path):
    made = Command()
    monkeypatch.setattr(fronts.subprocess, "run", made.run)
    monkeypatch.setattr(fronts, "HERE", open_store(str(tmp_path / "here")))
    return made


JOB = ROOT / "jobs" / "lenet-5-mnist-search.yaml"


def test_a_study_goes_on_only_where_it_is_of_the_same(fronts, command, tmp_path, monkeypatch):
    def ended(*settings, plain=False):
        command.calls.clear()
        fronts.ended_study(JOB, tmp_path, "n", *settings, plain=plain)
        return command.calls

    command.status = "interrupted"
    assert ended() == [("ours", False)]
    assert ended() == [("ours", True)]
    command.status = "done"
    assert ended() == [("ours", True)]
    assert ended() == [], "it is at its end"
    assert ended(plain=True) == [("plain", False)]
    assert ended("seed=1", plain=True) == [("plain", False)]
    monkeypatch.setattr(fronts, "version", lambda _: "another")
    assert ended("seed=1", plain=True) == [("plain", False)]
    (tmp_path / "n.json").unlink()
    assert ended("seed=1", plain=True) == [("plain", False)], "nobody knows what it is of"
    assert all((tmp_path / f"n.{number}").is_dir() for number in range(1, 5)), "none is lost"


def test_what_is_noted_is_of_the_commit_at_which_the_study_began(fronts, command, tmp_path):
    def noted(side):
        found = fronts._noted(tmp_path, "lenet-5", 0, 600, side, fronts._machine())
        return json.loads(json.dumps(found))

    command.status = "interrupted"
    settings = ("seed=0", "search.time_budget_s=600")
    fronts.ended_study(JOB, tmp_path, "lenet-5-600-0-ours", *settings)
    command.status, command.commit = "done", "bbbbbbb"
    found = noted("ours")
    assert command.calls == [("ours", False), ("ours", True)]
    assert (found["commit"], found["of"]["plain"]) == ("aaaaaaa", False)
    assert (found["first"], found["front"], found["trials"]) == ([0.5, 9.0], [[0.5, 9.0]], 1)
    assert noted("ours") == found
    assert len(command.calls) == 2, "it is noted"
    assert noted("tpe")["commit"] == "bbbbbbb"
    assert noted("tpe")["of"]["plain"]


def test_a_seed_is_of_one_kind_of_machine(fronts, command, tmp_path, monkeypatch):
    def ran():
        command.calls.clear()
        fronts._run(tmp_path, "lenet-5", 0, 600)
        return len(command.calls)

    monkeypatch.setattr(fronts, "processor", lambda: "one")
    assert ran() == 3
    monkeypatch.setattr(fronts, "processor", lambda: "another")
    assert ran() == 0, "all sides are of one"
    notes = json.loads((tmp_path / "here" / fronts.NOTES).read_text())
    del notes["lenet-5-600-0-tpe"]
    (tmp_path / "here" / fronts.NOTES).write_text(json.dumps(notes))
    assert ran() == 3, "the sides would be of two"
