"""What `sigdca search` shows: a line a trial, the front with the chosen one."""

import json

import pytest
from rich.console import Console

from sigdca.cli import main
from sigdca.cli.search import SearchProgress, _show, figure, front_table, trial_line
from sigdca.job import parse_job
from sigdca.search import Rung, Settings, Study, StudyFolder, missed_bounds
from sigdca.storage import open_store

JOB = """
name: study
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: {ip1: 0.9}}}, encode]}
search: {space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}}, num_trials: 3}
budget: {error: 1.7}
"""


@pytest.fixture
def study(tmp_path):
    made = Study(parse_job(JOB, "s.yaml"), StudyFolder(open_store(str(tmp_path))))
    for number, (size, error, share) in enumerate([(9000, 1.6, 1.0), (3000, 1.9, 1.0)], 1):
        figures = {
            "accuracy": 100 - error,
            "error": error,
            "accuracy_drop": 0.0,
            "container_bytes": size,
            "compression_ratio": 50.0,
        }
        container = made.folder.store.child("shared").put(str(size).encode())
        missed = missed_bounds(made.job, figures)
        rung = Rung(
            share=share, figures=figures, missed=missed, container=container, run="r", duration_s=2
        )
        made.begin(number, "sampler", {}, Settings())
        made.add(number, rung, {"node": "n", "site": "private", "price": 0.0})
        made.end(number, "done")
    return made


def test_the_front_marks_the_chosen_and_what_misses_the_budget(study):
    console = Console(width=120)
    with console.capture() as captured:
        console.print(front_table(study, study.save("done", "all trials are done")))
    rows = [line for line in captured.get().splitlines() if "%" in line]
    assert len(rows) == 2
    assert "->" in rows[0]
    assert "9,000" in rows[0]
    assert "met" in rows[0]
    assert "->" not in rows[1]
    assert "missed" in rows[1]


def test_a_trial_is_a_line(study):
    done = study.trial(1)
    assert trial_line(done) == "done, 9,000 bytes, error 1.60 % (2.0 s, private)"
    low = done.rungs[0].model_copy(update={"share": 0.25})
    pruned = done.model_copy(update={"rungs": (low,), "status": "pruned"})
    assert "with 25 % of the epochs" in trial_line(pruned)
    failed = done.model_copy(update={"rungs": (), "status": "failed", "reason": "nan"})
    assert trial_line(failed) == "failed: nan"
    assert trial_line(failed.model_copy(update={"rungs": done.rungs})) == "failed: nan"


def test_a_trial_that_a_board_refuses_after_its_end_is_told_again(study, capsys):
    with SearchProgress() as progress:
        study.watchers.append(progress.trial)
        progress.trial(study, study.trial(2))
        study.measured(2, {})
        study.refuse(2, "target 'a': beyond tolerance")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("trial 2: done, 3,000 bytes")
    assert second == "trial 2: failed: target 'a': beyond tolerance"


def test_figures_have_their_units():
    assert figure("container_bytes", 12345.0) == "12,345"
    assert figure("error", 1.234) == "1.23 %"
    assert figure("latency_us@atom-x5-e3940", 12.3456) == "12.35"
    assert figure("error", None) == ""


def test_a_missed_budget_names_the_best_container_where_it_lies(
    study, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path.parent)
    unmet = ("error 1.6, bound 1.5",)
    missing = study.save("done").model_copy(update={"meets_budget": False, "unmet": unmet})
    assert _show(study, missing, study.folder.store, as_json=True) == 1
    place = f"{tmp_path.name}/model.dca"
    line = f"the budget was not met ({unmet[0]}); the best so far, trial 1, is in {place}\n"
    assert capsys.readouterr().err == line
    assert (tmp_path.parent / place).is_file()


def test_where_the_budget_bounds_no_error_the_one_that_counts_is_said(study, capsys):
    job = parse_job(JOB, "s.yaml", ["budget={}"])
    free = Study(job, study.folder)
    outcome = free.save("done")
    assert _show(free, outcome, free.folder.store, as_json=False) == 0
    said = capsys.readouterr().out
    assert "at most trial 1's, 1.60 %, is chosen" in said
    (row,) = [line for line in said.splitlines() if "->" in line]
    assert "9,000" in row


def test_a_network_that_is_not_accurate_enough_is_said_at_once_and_in_the_end(study, capsys):
    study.job = parse_job(JOB, "s.yaml", ["train.accuracy_at_least=98.4"])
    study.baseline = {"accuracy": 60.0}
    with SearchProgress() as progress:
        for number in (1, 2):
            progress.trial(study, study.trial(number))
    said = "accuracy 60 %, train.accuracy_at_least 98.4 was not reached"
    assert capsys.readouterr().err.count(f"{said}; the search goes on") == 1
    assert _show(study, study.save("done"), study.folder.store, as_json=True) == 1
    assert f"the budget was not met ({said}); the best so far" in capsys.readouterr().err


def test_what_is_predicted_is_marked_and_leaves_the_budget_unverified(study, capsys):
    at = "atom-x5-e3940"
    settings = [f"targets=[{at}]", "budget.fps=75"]
    settings += [f"search.objectives={{error: min, latency_us@{at}: min}}"]
    asked = Study(parse_job(JOB, "s.yaml", settings), study.folder)
    asked.complete(lambda _: {f"latency_us@{at}": 1e4, f"fps@{at}": 100.0})
    assert _show(asked, asked.save("done"), asked.folder.store, as_json=False) == 0
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if "->" in line]
    assert "10,000 (predicted)" in row
    assert "unverified" in row
    assert f"unverified: fps@{at}: met by prediction alone; only the device can tell" in said
    assert _show(asked, asked.save("done"), asked.folder.store, as_json=True) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["unverified"] == outcome["best"]["unverified"] == [f"fps@{at}"]
    asked.measured(1, {f"latency_us@{at}": 1e4, f"fps@{at}": 100.0})
    assert _show(asked, asked.save("done"), asked.folder.store, as_json=False) == 0
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if "->" in line]
    assert "predicted" not in row
    assert "unverified" not in said


def test_nothing_starts_on_a_full_disk(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(JOB)
    monkeypatch.setattr("sigdca.cli.search.LEAST_ROOM_BYTES", 2**60)
    monkeypatch.setattr("sigdca.cli.search._run", lambda *_: pytest.fail("it has started"))
    with pytest.raises(SystemExit) as caught:
        main(["search", "s.yaml"])
    assert caught.value.code == 3
    assert "free" in capsys.readouterr().err
