"""What a submission's end means for a script; that the verbs are the command's own."""

import re

import pytest
import typer

from sigdca.cli import app
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
