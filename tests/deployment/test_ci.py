"""ci/: the templates are YAML whose every `sigdca` command is one, in an order that is a gate."""

import re
import shlex

import pytest
import typer
import yaml

from sigdca.cli import app
from sigdca.job import load_job
from tests.conftest import ROOT

GITHUB = yaml.safe_load((ROOT / "ci/github-actions.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "ci/gitlab-ci.yml").read_text())
WORDS_OF_GITLAB = {"stages", "workflow", "variables", "default", ".whole-way"}
VALUES = {"JOB": "jobs/lenet-5-mnist.yaml", "CI_PIPELINE_IID": "7"}


def scripts():
    """Template, job, and each line that it runs."""
    for name, job in GITHUB["jobs"].items():
        for step in job["steps"]:
            if "run" in step:
                yield "github", name, step["run"]
    for name, job in GITLAB.items():
        if name not in WORDS_OF_GITLAB:
            for line in job["script"]:
                yield "gitlab", name, line


def words_of(line):
    line = re.sub(r"\$\{\{.*?\}\}", "7", line)
    line = re.sub(r"\$(\w+)", lambda found: VALUES.get(found[1], found[1].lower()), line)
    return shlex.split(line.partition(" | ")[0])


COMMANDS = [
    (template, job, words_of(line))
    for template, job, line in scripts()
    if line.startswith("sigdca")
]


@pytest.mark.parametrize(
    ("template", "job", "words"), COMMANDS, ids=lambda one: one if isinstance(one, str) else one[1]
)
def test_every_command_is_one(template, job, words):
    verb = typer.main.get_command(app).get_command(None, words[1])
    assert verb is not None, words[1]
    context = verb.make_context(words[1], words[2:])
    if words[1] == "submit":
        load_job(ROOT / context.params["job"], context.params["settings"])
        assert context.params["follow"], "a gate waits"


def needs(job):
    before = GITHUB["jobs"][job].get("needs", [])
    return {before} if isinstance(before, str) else set(before)


def test_nothing_is_released_that_was_not_retested():
    assert needs("retest") == {"loop"}
    assert needs("canary") == {"retest"}
    assert needs("stable") == {"canary"}
    assert GITLAB["stages"] == ["loop", "retest", "canary", "stable"]
    for name in GITLAB["stages"]:
        assert GITLAB[name]["stage"] == name
    assert {"when": "manual"} in GITLAB["stable"]["rules"]
    for template, job, words in COMMANDS:
        if words[1] == "sign":
            assert "--run" in words, (template, job)  # its EDGE TEST must allow it


def test_both_templates_do_the_same():
    def of(template):
        return {
            (job, words[1], words[words.index("--channel") + 1] if "--channel" in words else "")
            for found, job, words in COMMANDS
            if found == template
        }

    assert of("github") == of("gitlab")


def test_a_pipe_does_not_hide_a_failure():
    assert GITHUB["defaults"]["run"]["shell"] == "bash"  # GitHub runs it with -eo pipefail
    for name, job in GITLAB.items():
        if name not in WORDS_OF_GITLAB and any(" | tee" in line for line in job["script"]):
            assert job["script"][0] == "set -o pipefail", name


def test_keys_come_from_the_secret_store():
    for name in ("github-actions.yml", "gitlab-ci.yml"):
        text = (ROOT / "ci" / name).read_text()
        assert "PRIVATE KEY" not in text
    for job in GITHUB["jobs"].values():
        runs = [step.get("run", "") for step in job["steps"]]
        if any("release.key" in run for run in runs):
            assert runs[-1] == "rm -f release.key"
    for name, job in GITLAB.items():
        if name not in WORDS_OF_GITLAB and any("release.key" in line for line in job["script"]):
            assert (
                "install -m 600 $RELEASE_KEY release.key" in job["script"]
            )  # others may read a File
            assert job["after_script"] == ["rm -f release.key"]
