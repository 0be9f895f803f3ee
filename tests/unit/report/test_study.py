"""A study's page: it holds what the files say, escapes it, and asks for nothing outside."""

import pyarrow.fs as pafs
import pytest

from sigdca.errors import StorageError
from sigdca.job import parse_job
from sigdca.report import build_study_report, command_of, is_study
from sigdca.report.published import published
from sigdca.report.study_charts import front_chart, time_chart
from sigdca.search import (
    Curve,
    Proof,
    Rung,
    Sensitivity,
    Settings,
    Study,
    StudyFolder,
    missed_bounds,
)
from sigdca.storage import Store, open_store

JOB = """
name: study
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: {ip1: 0.9}}}, encode]}
search:
  space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}}
  num_trials: 5
budget: {error: 2.0}
"""
HOSTILE = "<script>alert(1)</script>"


class Clock:
    now = 1000.0

    def __call__(self):
        self.now += 5.0
        return self.now


@pytest.fixture
def study(tmp_path):
    found = Study(parse_job(JOB, "s.yaml"), StudyFolder(open_store(str(tmp_path))), Clock())
    points = [(30000, 1.6, "job", "private"), (9000, 1.9, "seed", "private")]
    points += [(8000, 1.7, "sampler", "public"), (7000, 40.0, "sampler", "public")]
    for number, (size, error, origin, site) in enumerate(points, 1):
        figures = {
            "accuracy": 100 - error,
            "error": error,
            "accuracy_drop": 0.0,
            "container_bytes": size,
            "compression_ratio": 50.0,
        }
        rung = Rung(
            share=1.0,
            figures=figures,
            missed=missed_bounds(found.job, figures),
            container=found.folder.store.child("shared").put(str(size).encode()),
            run=f"trials/{number:04d}-100",
            duration_s=360.0,
        )
        found.begin(number, origin, {}, Settings({"seed": number}, []))
        found.add(number, rung, {"node": "n1", "site": site, "price": 2.0})
        found.end(number, "done")
    found.begin(5, "sampler", {}, Settings())
    found.end(5, "failed", HOSTILE)
    found.save("done", "all trials are done")
    return found


def test_the_page_says_what_was_chosen_and_what_it_cost(study):
    page = build_study_report(study.folder.store)
    assert "Trial 3: 8,000 bytes at 1.70 %, 3.75x smaller than the job" in page
    assert "budget met" in page
    assert "cost 0.80" in page
    assert "MIRACLE" not in page, "of another network"
    assert "EPR" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_page_says_what_bounds_the_error_where_the_budget_does_not(study):
    job = parse_job(JOB, "s.yaml", ["budget={container_bytes: 20000}"])
    Study(job, study.folder).save("done")
    page = build_study_report(study.folder.store)
    assert "The budget bounds no error: at most trial 1&#39;s is chosen." in page
    assert "missed: trial 1&#39;s error" in page
    assert "budget not met" in page
    assert "Not met: error 1.7, trial 1&#39;s 1.6." in page


def test_the_page_says_what_only_a_board_can_tell(study):
    at = "atom-x5-e3940"
    job = parse_job(JOB, "s.yaml", [f"targets=[{at}]", "budget.fps=75"])
    asked = Study(job, study.folder)
    asked.complete(lambda _: {f"latency_us@{at}": 1e4, f"fps@{at}": 100.0})
    asked.save("done")
    page = build_study_report(study.folder.store)
    assert "budget met by prediction" in page
    assert f"Unverified: fps@{at}: only the device can tell." in page
    assert f"unverified: fps@{at}" in page
    asked.measured(3, {f"latency_us@{at}": 1e4, f"fps@{at}": 100.0})
    asked.save("done")
    assert "✓ budget met" in build_study_report(study.folder.store)


def test_the_page_says_what_targets_said_of_the_chosen_container(study):
    assert 'id="targets"' not in build_study_report(study.folder.store)
    said = {
        "atom-x5-e3940": Proof(verdict="exact", evidence="isa", reason="all bits equal"),
        "jetson-tx2": Proof(verdict="device-required", evidence=None, reason=HOSTILE),
    }
    study.proven(3, said)
    page = build_study_report(study.folder.store)
    assert 'atom-x5-e3940</th><td><span class="badge good">exact (isa)</span>' in page
    assert 'jetson-tx2</th><td><span class="badge warn">device-required</span>' in page
    assert HOSTILE not in page


def test_the_chart_has_every_trial_but_those_far_off(study):
    trials = study.trials()
    chart = front_chart(trials, [1, 3, 4], 3, published("lenet-300-100", "mnist"))
    tones = [mark.tone for mark in chart.marks]
    assert (tones.count("chosen"), tones.count("job"), tones.count("plain")) == (1, 1, 1)
    assert chart.num_left_out == 1, "an error of 40 % would flatten all others"
    assert len(chart.line.split()) == 2
    assert front_chart(trials[4:], [], None, ()) is None


def test_trials_that_overlap_lie_in_lanes_of_their_own(study):
    trials = study.trials()[:4]
    apart = [
        trial.model_copy(update={"started": start, "ended": end, "site": "private"})
        for trial, (start, end) in zip(trials, [(0, 10), (2, 6), (6, 9), (10, 12)], strict=True)
    ]
    chart = time_chart(apart)
    assert [span.y for span in chart.spans] == [0, 22, 22, 0]
    assert chart.lanes == [(0, "private"), (22, "")]


def test_the_scan_is_drawn(study):
    levels = (0.5, 0.9)
    curve = Curve(
        layer="ip1", layer_kind="fc", kind="sparsity", levels=levels, accuracy=(98.0, 90.0)
    )
    scan = Sensitivity(key="k", num_images=100, accuracy=98.5, curves=(curve,))
    study.folder.store.write("sensitivity.json", scan.model_dump_json().encode())
    page = build_study_report(study.folder.store)
    assert "What layers stand" in page
    assert "100 images of the train split" in page


def test_a_folder_without_a_study_is_named(tmp_path):
    store = open_store(str(tmp_path))
    assert not is_study(store)
    with pytest.raises(StorageError, match="there is no study"):
        build_study_report(store)


def test_a_job_that_lies_elsewhere_is_fetched_first(tmp_path):
    local = open_store(str(tmp_path))
    assert command_of(local, "run", "job.yaml") == f"sigdca run {tmp_path}/job.yaml"
    there = Store(pafs.SubTreeFileSystem("/", pafs.LocalFileSystem()), "lab/runs/one")
    said = command_of(there, "run", "job.yaml")
    assert said == "sigdca run job.yaml  # the storage's lab/runs/one/job.yaml, fetched"
