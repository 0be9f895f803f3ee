"""The searches that ours are compared with: nothing is tried before the sampler draws."""

from types import SimpleNamespace

from sigdca.distributed import search
from sigdca.distributed.trial import TrialSpec
from sigdca.job import load_job
from sigdca.search import Study, StudyFolder
from sigdca.storage import open_store
from tests.conftest import ROOT

JOB = ROOT / "jobs" / "lenet-300-100-mnist-search.yaml"


def test_a_plain_search_begins_with_the_jobs_own_recipe_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import search_plain

    remote = SimpleNamespace(remote=lambda *_: None)
    monkeypatch.setattr(search, "ray", SimpleNamespace(remote=lambda **_: lambda _: remote))
    monkeypatch.setattr(search, "_gather", lambda *_: [{"artifact": "a"}])
    for name in ("seeds", "own_points"):
        monkeypatch.setattr(search, name, getattr(search, name))  # as it is, after the test too
    job = load_job(JOB, ["search.sensitivity_images=0"])
    store = open_store(str(tmp_path))
    study = Study(job, StudyFolder(store))
    spec = TrialSpec(job, job.search.space, store)
    own, _, first = search._prepare(study, spec)
    assert own
    assert {origin for origin, _ in first} == {"job", "seed"}
    search_plain.make_plain()
    own_again, _, first = search._prepare(study, spec)
    assert own_again == own
    assert search._todo(study, study.search.space, own, first) == {1: ("job", own)}
