"""What a submission's end means for a script; that Ctrl-C leaves it; that the verbs are real."""

import re

import pytest
import typer

from sigdca.cli import app, main, submitting
from sigdca.cli.submitting import Verb, _say_what_is_not_there, exit_code
from sigdca.distributed.submission import Submission
from sigdca.errors import JobError
from sigdca.job import parse_job
from tests.conftest import ROOT

ATOM = "atom-x5-e3940"


def ended(status, code):
    return Submission("id", status, "", code, "sigdca run x.yaml", 0, 1)


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_jobs_own_exit_code_comes_back(code):
    assert exit_code(ended("SUCCEEDED" if code == 0 else "FAILED", code)) == code


@pytest.mark.parametrize(
    ("status", "code"), [("FAILED", None), ("FAILED", 127), ("FAILED", -9), ("STOPPED", 0)]
)
def test_all_else_is_a_fault_on_the_way(status, code):
    assert exit_code(ended(status, code)) == 3


def test_verbs_are_real_and_jobs_readme_has_them_all():
    known = set(typer.main.get_command(app).commands)
    verbs = {verb.value for verb in Verb}
    assert verbs <= known
    table = re.findall(r"^\| \w+ \| `(\w+)` \|", (ROOT / "jobs/README.md").read_text(), re.M)
    assert set(table) == verbs
    for verb in verbs:
        options = {
            name for one in typer.main.get_command(app).commands[verb].params for name in one.opts
        }
        assert {"--set", "--smoke-test"} <= options, verb
        assert ("--resume" in options) is (verb != "retest"), verb


class Head:
    """What a cluster's nodes stand for."""

    def __init__(self, **evidence):
        self.evidence = evidence

    def evidence_of(self, targets, site):
        assert site in (None, "private")
        if site is not None:  # they are of site edge
            return {}
        return {name: told for name, told in self.evidence.items() if name in targets}


def job(*settings):
    text = "name: j\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {}\n"
    return parse_job(text, "j.yaml", [f"targets=[{ATOM},jetson-tx2]", *settings])


def test_targets_that_no_node_stands_for_are_told_at_once(capsys):
    _say_what_is_not_there(job(), "j.yaml", Head())
    tx2, atom = capsys.readouterr().err.splitlines()
    assert tx2.startswith("target 'jetson-tx2': its engine tensorrt")
    assert tx2.endswith("the report will say device-required")
    assert atom.startswith(f"target '{ATOM}': no node of this cluster stands for it; the head emu")
    _say_what_is_not_there(job("targets=[atom-x5-e3940]"), "j.yaml", Head(**{ATOM: "isa"}))
    assert capsys.readouterr().err == ""


def test_a_job_whose_targets_cannot_be_proven_there_is_not_submitted():
    wanted = ["targets=[atom-x5-e3940]", "edge_test.require=device"]
    with pytest.raises(JobError, match=r"j\.yaml: edge_test\.require: device: .*no board has"):
        _say_what_is_not_there(job(*wanted), "j.yaml", Head(**{ATOM: "isa"}))
    _say_what_is_not_there(job(*wanted), "j.yaml", Head(**{ATOM: "device"}))
    with pytest.raises(JobError, match="no board of site private has joined"):
        _say_what_is_not_there(
            job(*wanted, "data.site=private"), "j.yaml", Head(**{ATOM: "device"})
        )
    with pytest.raises(JobError, match=r"j\.yaml: edge_test\.require: isa: target 'jetson-tx2'"):
        _say_what_is_not_there(job("edge_test.require=isa"), "j.yaml", Head(**{ATOM: "isa"}))


class Followed(Head):
    """A head at whose first word, or wait, Ctrl-C is pressed."""

    address = "http://head:8265"

    def submit(self, *_):
        return Submission("j-train-1", "PENDING", "", None, "sigdca train j.yaml", 0, None)

    def follow(self, name):
        yield "TRAIN #1 ...\n"
        raise KeyboardInterrupt

    def wait(self, name):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "command",
    [
        ("submit", "j.yaml", "--verb", "train", "--logs"),
        ("submit", "j.yaml", "--verb", "train", "--wait"),
        ("submitted", "logs", "j-train-1", "--follow"),
        ("submitted", "logs", "j-train-1", "--follow", "--json"),
    ],
)
def test_ctrl_c_leaves_a_submission_and_says_how_to_end_it(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "j.yaml").write_text("name: j\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {}\n")
    monkeypatch.setattr(submitting, "_head", lambda _: Followed())
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    said = capsys.readouterr().err.splitlines()
    assert (ended.value.code, said[-1]) == (
        3,
        "sigdca: no longer following; j-train-1 goes on; "
        "`sigdca submitted stop j-train-1 --address http://head:8265` ends it",
    )
    assert not [line for line in said if "interrupted" in line]
