"""What a submission's end means for a script; that the verbs are the command's own."""

import re

import pytest
import typer

from sigdca.cli import app
from sigdca.cli.submitting import Verb, exit_code
from sigdca.distributed.submission import Submission
from tests.conftest import ROOT


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
