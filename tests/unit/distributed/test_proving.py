"""EDGE TEST after a search: left out where it may not or cannot run, and ended by a signal."""

import os
import signal

import pytest

from sigdca.distributed import proving
from sigdca.distributed.proving import check_provable, prove_on_cluster
from sigdca.distributed.sites import Place
from sigdca.errors import JobError, SigdcaError
from sigdca.job import parse_job
from sigdca.search import Rung, Settings, Study, StudyFolder
from sigdca.storage import open_store

JOB = """
name: s
model: lenet-300-100
data: {source: mnist, site: private}
train: {}
compress: {recipe: [{prune: {sparsity: 0.9}}, encode]}
search: {space: {seed: {int: [1, 9]}}, num_trials: 3}
targets: [atom-x5-e3940]
"""


@pytest.fixture
def cluster(monkeypatch):
    """What `here` and `slots` say; those that were proven."""
    found = {"site": "private", "slots": {"private": 2}, "proven": []}
    monkeypatch.setattr(proving, "here", lambda _: Place("n", found["site"], 0.0))
    monkeypatch.setattr(proving, "slots", lambda _: found["slots"])
    monkeypatch.setattr(proving, "prove_chosen", lambda *_: found["proven"].append(True))
    return found


@pytest.fixture
def make_study(tmp_path):
    def make(*settings):
        study = Study(parse_job(JOB, "s", settings), StudyFolder(open_store(str(tmp_path))))
        container = study.folder.store.child("shared").put(b"c")
        figures = {"error": 1.0, "accuracy_drop": 0.0, "container_bytes": 1}
        rung = Rung(share=1.0, figures=figures, container=container, run="r", duration_s=1.0)
        study.begin(1, "job", {}, Settings())
        study.add(1, rung, {"node": "n", "site": "private", "price": 0.0}, ends=True)
        return study

    return make


def test_bound_images_are_read_on_their_own_site_alone(cluster, make_study):
    told = []
    prove_on_cluster(None, make_study(), "over", told.append)
    assert (len(cluster["proven"]), told) == (1, [])
    cluster["site"] = "public"
    prove_on_cluster(None, make_study(), "over", told.append)
    assert len(cluster["proven"]) == 1
    assert told == [
        "EDGE TEST: left out: it would read images on this machine, which are bound to site "
        "private; `sigdca retest` does it later, there"
    ]
    with pytest.raises(JobError, match="require: isa: EDGE TEST would read images"):
        check_provable(make_study("edge_test.require=isa").job)
    check_provable(make_study().job)
    prove_on_cluster(None, make_study("data.site=null"), "over", told.append)
    assert len(cluster["proven"]) == 2


def test_a_word_that_is_no_site_is_a_public_one(cluster, make_study):
    cluster["site"] = "cloud"
    prove_on_cluster(None, make_study("data.site=public"), "over", pytest.fail)
    assert len(cluster["proven"]) == 1


@pytest.mark.parametrize("error", [SigdcaError("the cluster is lost"), OSError("no room")])
def test_a_fault_is_said_and_the_study_is_over_all_the_same(
    cluster, make_study, monkeypatch, error
):
    def fails(*_):
        raise error

    monkeypatch.setattr(proving, "prove_chosen", fails)
    told = []
    prove_on_cluster(None, make_study(), "over", told.append)
    assert told == [f"EDGE TEST: {error}; `sigdca retest` does it later"]


def test_nobody_waits_for_a_server_that_may_never_come(cluster, make_study):
    cluster["slots"], told = {}, []
    prove_on_cluster(None, make_study(), "over", told.append)
    assert told == ["EDGE TEST: left out: no server is there; `sigdca retest` does it later"]
    assert cluster["proven"] == []


def test_without_targets_there_is_nothing_to_prove(cluster, make_study):
    prove_on_cluster(None, make_study("targets=[]"), "over", pytest.fail)
    assert cluster["proven"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_else(cluster, make_study, monkeypatch, number):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(proving, "prove_chosen", lambda *_: os.kill(os.getpid(), number))
    told = []
    try:
        prove_on_cluster(None, make_study(), "over", told.append)
        assert told == ["EDGE TEST: interrupted; `sigdca retest` does it later"]
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
