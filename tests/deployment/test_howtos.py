"""docs/: the five how-tos, run from their own text.

A block below a line that ends in `FILE`: is that file. Of the lines of `sh` blocks, `sigdca` runs
in this process, without a cluster; what needs machines or services that are not here is parsed.
"""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sigdca.cli import app, main
from sigdca.distributed.joining import PORTS
from sigdca.job import load_job, parse_job
from sigdca.loop import LocalExecutor
from sigdca.storage import open_store
from sigdca.targets import check_emulator, load_target
from tests.conftest import ROOT
from tests.deployment.units import settings

HOWTOS = ("own-model", "own-board", "own-cluster", "kubernetes", "reading-a-report")
FENCE = re.compile(r"(?:`([\w./-]+)`:\n\n)?```(\w+)\n(.*?)```", re.S)
# They need a cluster: tests/e2e/test_submit.py and test_cluster.py run them for real.
PARSED_VERBS = {"submit", "submitted", "edge"}
ELSEWHERE = {"docker", "cp", "ray", "make", "pip"}


def page(name):
    return (ROOT / "docs" / f"{name}.md").read_text()


def blocks(name):
    return FENCE.findall(page(name))


def lines(name):
    for _, language, text in blocks(name):
        if language == "sh":
            yield from (line for line in text.splitlines() if line.split("#")[0].strip())


def parse(words):
    """The verb and its options are real."""
    verb = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(verb, "commands"):
        name, *rest = rest
        verb = verb.get_command(None, name)
        assert verb is not None, words
    return verb.make_context(name, rest)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what a reader has: jobs/, cluster/, k8s/; and no cluster."""

    class Here(LocalExecutor):
        cluster = type("Cluster", (), {"address": "in this process"})

    @contextlib.contextmanager
    def connect(address, num_workers):
        yield Here()

    for name in ("jobs", "cluster", "k8s"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setattr("sigdca.distributed.connect", connect)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(line, expected=(0,)):
    words = shlex.split(line, comments=True)
    if words[0] == "sigdca" and words[1] in PARSED_VERBS:
        parse(words)
    elif words[0] == "sigdca":
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert ended.value.code in expected, line
    elif words[:2] == ["kubectl", "kustomize"]:
        if shutil.which("kubectl"):
            subprocess.run(words, check=True, capture_output=True)
    elif words[0] == "kubectl":
        check_kubectl(words)
    elif words[0] in ELSEWHERE:
        check_files(words)
    else:
        subprocess.run(["sh", "-e", "-c", line], check=True, capture_output=True)


def check_kubectl(words):
    if words[1] == "apply":
        overlay, label = words[words.index("-k") + 1], words[words.index("-l") + 1]
        key, _, value = label.partition("=")
        assert (ROOT / overlay / "kustomization.yaml").is_file()
        named = [path.read_text() for path in (ROOT / "k8s/base").glob("*.yaml")]
        assert any(f"{key}: {value}" in text for text in named), label
    elif words[1:3] == ["create", "secret"]:
        named = [path.read_text() for path in (ROOT / "k8s/base").glob("*.yaml")]
        assert any(f"secretName: {words[4]}" in text for text in named)
    else:
        assert words[1] == "label"


def check_files(words):
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
    for word in words:
        if word.startswith(("cluster/", "k8s/", "constraints")):
            assert (ROOT / word).is_file(), word
        for extra in re.findall(r"^sigdca\[(\w+)\]$", word):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.M), word


@pytest.mark.parametrize("name", HOWTOS)
def test_a_how_to_is_run_from_its_own_text(name, place, capsys):
    for file, _, text in blocks(name):
        if file:
            Path(file).write_text(text)
    for line in lines(name):
        if not line.startswith("export "):
            # A target that cannot be emulated here is not proven, and retest says so.
            run(line, (0, 1) if " retest " in line else (0,))
    if name == "own-cluster":
        assert (place / "secrets/tls/10.0.0.2.crt").is_file()
        assert (place / "secrets/token").stat().st_mode & 0o077 == 0
        sent = dict(re.findall(r"^\| `(secrets/\S+)` \| `(/etc/\S+)` \|", page(name), re.M))
        given = settings((ROOT / "cluster/cluster.env").read_text()).values()
        assert set(sent.values()) == {path for path in given if path.startswith("/etc/")}
        assert all((place / path).is_file() for path in sent)
        assert "secrets/tls/ca.key" not in sent
    if name == "own-model":
        assert (place / "tiny.onnx").is_file()


def test_the_gate_asks_for_nothing_that_only_a_board_proves():
    (line,) = [line for line in lines("own-cluster") if "--verb retest" in line]
    asked = parse(shlex.split(line, comments=True)).params
    for target in load_job(ROOT / asked["job"], asked["settings"]).targets:
        check_emulator(load_target(target))


def test_the_script_reads_a_report(place, capsys):
    run("sigdca run jobs/lenet-300-100-mnist.yaml --smoke-test --set targets=[]")
    (script,) = [text for _, language, text in blocks("reading-a-report") if language == "python"]
    report = json.loads((place / "runs/lenet-300-100-mnist-smoke/report.json").read_text())
    report["budget"] = [{"name": "error", "bound": 1.9, "value": 1.5, "met": True}]
    report["targets"] = [{"target": "atom-x5-e3940", "verdict": "exact", "reason": "so"}]
    open_store("runs/lenet-300-100-mnist-smoke").write("report.json", json.dumps(report).encode())
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "error 1.9 1.5 True\natom-x5-e3940 exact so\n"


def test_the_section_on_evidence_is_one():
    (section,) = [text for _, language, text in blocks("own-board") if language == "yaml"]
    job = parse_job((ROOT / "jobs/lenet-5-mnist.yaml").read_text() + section, "own-board.md")
    assert (job.edge_test.require, job.edge_test.timeout_s) == ("device", 600)


def test_the_table_of_ports_is_right():
    rows = re.findall(r"^\| (\d+)(?: to (\d+))? \|", page("own-cluster"), re.M)
    told = {port for first, last in rows for port in range(int(first), int(last or first) + 1)}
    assert set(PORTS.values()) | {6379, 8265} <= told


@pytest.mark.parametrize(("name", "number"), [("report", 0), ("study", 1)])
def test_the_parts_of_the_page_are_named_in_its_order(name, number):
    tables = page("reading-a-report").split("## A study's page")
    parts = re.findall(r"^\| ([A-Z][a-z ]+) \|", tables[number], re.M)
    template = (ROOT / f"sigdca/report/{name}.html.j2").read_text()
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", template)
    assert parts == [heading.partition(":")[0] for heading in headings]
