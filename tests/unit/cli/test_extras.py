"""A verb that needs what is not installed says what to install: one line, exit code 2."""

import json
import subprocess
import sys

from tests.bright import model
from tests.conftest import ROOT

# What `pip install sigdca` leaves out, and a process in which it is missing.
EXTRAS = ("jinja2", "onnx", "onnxruntime", "optuna", "ray", "safetensors", "tensorboard", "torch")
BARE = f"""
import contextlib, io, json, sys
sys.modules.update(dict.fromkeys({EXTRAS!r}))
from sigdca.cli import main
told = []
for command in json.loads(sys.argv[1]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            main(command)
    except SystemExit as ended:
        told.append([ended.code, said.getvalue()])
print(json.dumps(told))
"""
JOB = "name: j\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {}\nstorage: runs\n"
HEAD = "--address http://head:8265"
MISSING = {
    "run j.yaml": "run: torch",
    "train j.yaml": "train: torch",
    "retest j.yaml": "retest: torch",
    "report .": "report: jinja2",
    "test m.dca": "test: torch",
    "edge test m.dca --target atom-x5-e3940": "edge test: torch",
    "decode m.dca --to safetensors -o m.safetensors": "decode: torch",
    "encode m.safetensors --model lenet-5 -o n.dca": "encode: torch",
    f"submit j.yaml {HEAD}": "submit: ray",
    f"submitted list {HEAD}": "submitted list: ray",
}


def bare(folder, *commands):
    """The exit code of each command, and what it said, where no extra is installed."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps([command.split() for command in commands])],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_missing_extra_is_one_line(tmp_path):
    (tmp_path / "j.yaml").write_text(JOB)
    (tmp_path / "m.dca").write_bytes(model())
    told = bare(tmp_path, *MISSING)
    assert told == [
        [2, f"sigdca: {named} is not installed; pip install 'sigdca[cluster]'\n"]
        for named in MISSING.values()
    ]


def test_what_needs_no_extra_runs_and_help_names_what_a_board_has(tmp_path):
    (tmp_path / "m.dca").write_bytes(model())
    (code, shown), (also, helped) = bare(tmp_path, "inspect m.dca --json", "edge test --help")
    assert (code, also, json.loads(shown)["version"]) == (0, 0, 1)
    assert "On a board itself, `dca-run test`" in " ".join(helped.split())
