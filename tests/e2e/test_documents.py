"""What README, jobs/ and benchmarks/ tell someone to type is right."""

import configparser
import json
import re
import shlex

import pytest
import typer
import yaml

from sigdca.cli import app
from sigdca.data.manifest import dump_manifest, parse_manifest
from sigdca.distributed import JOURNAL
from sigdca.distributed.strategies import STRATEGIES
from sigdca.edge.infer import options as infer_options
from sigdca.job import Budget, load_job, parse_job
from sigdca.job.schema import TargetBudget
from sigdca.job.search import FIGURES, TARGET_FIGURES, Search
from sigdca.loop import check_job
from sigdca.loop.events import FOLDER
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
DATA = (ROOT / "docs/data.md").read_text()
SEARCH = (ROOT / "docs/search.md").read_text()
DOCUMENTS = DATA + SEARCH + (ROOT / "docs/edge.md").read_text()
JOBS = sorted((ROOT / "jobs").glob("*.yaml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_job_file_is_a_job(path):
    job = load_job(path)
    check_job(job, str(path))
    assert job.name == path.stem


def test_readmes_job_is_a_job():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    job = parse_job(text, "README.md", ["model=lenet-5"])
    check_job(job, "README.md")


def commands():
    for block in re.findall(r"```sh\n(.*?)```", README + DOCUMENTS, re.S):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] != "dca-run":  # run in tests/native/test_dca_run.py
                yield words


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_readmes_commands_exist_with_those_options(words):
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= set(targets)
        return
    if words[:3] == ["ray", "job", "submit"]:  # the whole of it is run in test_submit.py
        words = words[words.index("--") + 1 :]
    if words[0] == "tensorboard":
        runs = f"runs/lenet-5-mnist/{FOLDER}", "runs/lenet-5-mnist-search"
        assert words[1] == "--logdir"
        assert words[2:] in [[run] for run in runs]
        return
    if words[0] == "optuna-dashboard":
        journal = f"runs/lenet-5-mnist-search/{JOURNAL}"
        assert words[1:] == [journal, "--storage-class", "JournalFileStorage"]
        return
    if words[0] == "pip":
        extra = words[-1].removeprefix("sigdca[").removesuffix("]")
        assert re.search(rf"^{extra} = ", (ROOT / "pyproject.toml").read_text(), re.M)
        return
    assert words[0] == "sigdca"
    if words[1:3] == ["edge", "infer"]:  # takes its words as they are
        infer_options().parse_args(words[3:])
        return
    command = typer.main.get_command(app)
    verb = command.get_command(None, words[1])
    rest = words[2:]
    if hasattr(verb, "commands"):  # `sigdca data import`
        verb, rest = verb.get_command(None, words[2]), words[3:]
    context = verb.make_context(words[1], rest)
    job = context.params.get("job")
    if job is not None:
        load_job(ROOT / job, context.params["settings"] or ())


def test_sigdca_is_installed_from_where_it_lies():
    """It is on no package index."""
    installing = re.compile(r"pip (?:install|wheel)[^`#\n]*\bsigdca\b[^`#\n]*")
    pages = [ROOT / "README.md", ROOT / "sigdca/native/examples/README.md"]
    pages += [*ROOT.glob("docs/*.md"), *ROOT.glob("ci/*"), *ROOT.glob("cluster/*.yaml")]
    told = [command for page in pages for command in installing.findall(page.read_text())]
    assert len(told) >= 8
    assert [command for command in told if "--find-links" not in command] == []


def test_the_training_section_that_is_shown_is_one():
    text = (ROOT / "docs/training.md").read_text()
    (section,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    job = parse_job(
        f"name: shown\nmodel: lenet-5\ndata: {{source: mnist}}\n{section}", "training.md"
    )
    check_job(job, "training.md")
    table = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert sorted(set(table) - {"strategy"}) == sorted(STRATEGIES)


def test_the_watch_section_that_is_shown_is_one():
    (section,) = re.findall(r"```yaml\n(watch:.*?)```", (ROOT / "docs/edge.md").read_text(), re.S)
    begin = "name: shown\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {}\n"
    assert parse_job(f"{begin}{section}", "edge.md").watch.at_least == 500


def test_the_unit_that_is_shown_is_never_given_up():
    (text,) = re.findall(r"```ini\n(.*?)```", (ROOT / "docs/edge.md").read_text(), re.S)
    unit = configparser.ConfigParser()
    unit.optionxform = str
    unit.read_string(text)
    service = unit["Service"]
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert (service["Restart"], service["RestartSec"]) == ("always", "5")
    words = shlex.split(service["ExecStart"])
    assert words[1:3] == ["-m", "sigdca.edge.infer"]
    infer_options().parse_args(words[3:])


def test_the_manifest_that_is_shown_is_one():
    (text,) = re.findall(r"```json\n(.*?)```", DATA, re.S)
    manifest = parse_manifest(text.encode(), "docs/data.md")
    assert json.loads(dump_manifest(manifest)) == json.loads(text)


def test_the_two_commands_are_readmes():
    words = [tuple(found) for found in commands()]
    assert ("make", "demo") in words
    assert ("make", "test") in words


def test_the_pins_are_exact():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[^ ;]+(; .*)?", line), line


def test_pre_commit_runs_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = {hook["entry"].removeprefix(".venv/bin/") for hook in config["repos"][0]["hooks"]}
    lint = re.search(r"^lint:\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M).group(1)
    for tool in ("ruff check", "ruff format", "mypy", "lint-imports"):
        assert tool in entries
        assert f"$(BIN)/{tool}" in lint


def test_the_search_sections_that_are_shown_are_such():
    sections = re.findall(r"```yaml\n(.*?)```", SEARCH, re.S)
    recipe = "[{prune: {sparsity: {ip1: 0.9}, epochs: 8}}, {share: {bits: 4}}, encode]"
    begin = "name: shown\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {epochs: 1}\n"
    begin += f"compress: {{recipe: {recipe}}}\n"
    check_job(parse_job(begin + sections[0], "search.md"), "search.md")
    space = yaml.safe_load(sections[1])["space"]
    search = yaml.safe_dump({"search": {"space": space, "num_trials": 3}})
    check_job(parse_job(begin + search, "search.md"), "search.md")


def test_what_may_count_in_a_search_is_what_the_job_takes():
    (table,) = re.findall(r"## What may count\n\n(.*?)\n\n", SEARCH, re.S)
    rows = [line.strip("|").split("|")[1:] for line in table.splitlines()[2:]]
    objectives = [name for row in rows for name in re.findall(r"`(\w+(?:@T)?)`", row[0])]
    assert objectives == [
        *sorted(FIGURES, key=objectives.index),
        *(f"{f}@T" for f in TARGET_FIGURES),
    ]
    assert set(TargetBudget.model_fields) == set(TARGET_FIGURES)
    bounds = [
        yaml.safe_load(found) for row in rows for found in re.findall(r"`(\w+: [^`]+)`", row[1])
    ]
    assert {name for bound in bounds for name in bound} == set(Budget.model_fields) - {"time_s"}
    for bound in bounds:
        Budget.model_validate(bound)


def test_the_defaults_of_a_search_are_the_shown_ones():
    names = re.findall(
        r"`(\w+)`", " ".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", SEARCH, re.M))
    )
    assert set(Search.model_fields) <= set(names)
    shown = Search(space={"seed": {"int": [1, 2]}}, num_trials=1)
    assert (shown.objectives, shown.sampler) == ({"error": "min", "container_bytes": "min"}, "tpe")
    assert (shown.fidelities, shown.keep, shown.sensitivity_images) == ((0, 0.25, 1), 0.5, 2000)
