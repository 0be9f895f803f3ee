"""`run --watch` and `submit --watch`, as a user types them, without a cluster."""

import contextlib
import json

import pytest

from sigdca.cli import jobs, main
from sigdca.distributed.bundle import check_watch
from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.sending import send_samples
from sigdca.errors import JobError
from sigdca.job import parse_job
from tests.images import write_data_set
from tests.samples import samples_of
from tests.unit.loop.test_watch import Told

JOB = """
name: t
model: tests.tiny:Tiny
data: {source: ./old}
train: {epochs: 1, batch_size: 20}
compress: {recipe: [encode]}
targets: [atom-x5-e3940]
watch: {data: ./new, at_least: 10, poll_s: 0.01}
"""


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder with a job, its data, and ten new images."""
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "old", {"train": [20], "test": [10]})
    (tmp_path / "t.yaml").write_text(JOB)
    store = make_store(tmp_path / "b", About("b", (1, 2, 4), 10, LEAST_BYTES, private=False))
    labels = dict.fromkeys(range(10), 1)
    store.append(samples_of(range(10), labels=labels, shape=(1, 2, 4)))
    send_samples(store, str(tmp_path / "new"))

    def run(executor, *arguments):
        @contextlib.contextmanager
        def connected(job, address):
            yield executor

        monkeypatch.setattr(jobs, "_connected", connected)
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return run


def test_each_cycle_has_a_report_and_the_last_one_decides(sigdca, tmp_path):
    command = ("run", "t.yaml", "--watch", "--set", "watch.cycles=1", "--json")
    code, out, err = sigdca(Told(0.8, 0.9, 0.8), *command)
    _, end = json.loads(out)["cycles"]
    assert (code, end["accepted"], end["reason"]) == (0, True, "watch.releases is not set")
    assert "watch: cycle 1 begins with 10 new images" in err
    page = (tmp_path / "runs/t/watch/0001/report.html").read_text()
    assert "10 images" in page
    assert "not released" in page
    code, out, err = sigdca(Told(), *command, "--resume")
    assert (code, len(json.loads(out)["cycles"])) == (0, 2)
    code, out, err = sigdca(Told(0.8, 0.6, 0.9), *command)
    assert (code, json.loads(out)["cycles"][1]["accepted"]) == (1, False)
    assert "is now t.1" in err


class Interrupted(Told):
    def train(self, task, observer):
        raise KeyboardInterrupt


def test_ctrl_c_is_one_line_and_keeps_the_state(sigdca, tmp_path):
    code, out, err = sigdca(Interrupted(), "run", "t.yaml", "--watch")
    assert (code, out) == (3, "")
    assert err.endswith("interrupted; the same command with --resume goes on from here\n")
    code, _, err = sigdca(Told(), "run", "t.yaml", "--watch", "--set", "watch=null")
    assert code == 2
    assert "has no section 'watch'" in err.splitlines()[-1]
    assert not (tmp_path / "runs/t.1").exists()  # the run is where it was


def test_a_submitted_job_needs_places_that_the_cluster_knows(sigdca):
    job = parse_job(JOB, "t.yaml")
    with pytest.raises(JobError, match=r"watch.data: ./new: must be an address, or an absolute"):
        check_watch(job)
    check_watch(parse_job(JOB, "t.yaml", ["watch.data=s3://lab/new"]))
    with pytest.raises(JobError, match="has no section 'watch'"):
        check_watch(parse_job(JOB, "t.yaml", ["watch=null"]))
    code, _, err = sigdca(Told(), "submit", "t.yaml", "--watch", "--verb", "train")
    assert (code, "--watch: is for the verb run, not train" in err) == (2, True)
