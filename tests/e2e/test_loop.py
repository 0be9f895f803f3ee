"""The whole loop through the command, as a user runs it, undisturbed and disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sigdca.codec import decode_container
from sigdca.storage import Ledger, open_store
from tests.conftest import ROOT, SMALL_JOB, emulated


def run_sigdca(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sigdca", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def write_job(folder):
    path = folder / "small.yaml"
    path.write_text(SMALL_JOB + f"storage: {folder / 'runs'}\n")
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished run: its folder, and what the command printed."""
    emulated("atom-x5-e3940")
    emulated("jetson-tx2-cpu")
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_sigdca("run", write_job(folder), "--json")
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "small", done


def test_json_is_one_object_and_nothing_else(undisturbed):
    run, done = undisturbed
    report = json.loads(done.stdout)
    assert report == json.loads((run / "report.json").read_text())
    assert report["status"] == "done"


def test_every_box_left_a_test_point(undisturbed):
    run, _ = undisturbed
    records = Ledger(open_store(str(run))).records
    stages = [f"{record.stage} {record.label}".strip() for record in records]
    assert stages == [
        "train",
        "test",
        "compress prune",
        "retrain prune",
        "retest prune",
        "compress share",
        "retrain share",
        "retest share",
        "compress encode",
        "retest encode",
        "package",
        "edge-test atom-x5-e3940",
        "edge-test jetson-tx2-cpu",
        "edge-test jetson-tx2",
    ]
    assert all(record.versions["ray"] == "2.60.0" for record in records)
    assert not (run / "checkpoints").exists()


def test_the_container_holds_what_was_tested(undisturbed):
    run, done = undisturbed
    report = json.loads(done.stdout)
    content = (run / "model.dca").read_bytes()
    assert report["best"]["container_bytes"] == len(content)
    weights = decode_container(content).tensors["ip1.weight"]
    assert (weights == 0).sum() == round(0.9 * weights.size)
    told = json.loads(run_sigdca("test", run / "model.dca", "--limit", 1500, "--json").stdout)
    assert told["error"] == pytest.approx(report["best"]["error"])
    retest = [p for p in report["test_points"] if (p["stage"], p["label"]) == ("retest", "encode")]
    assert told["logits_sha256"] == retest[0]["metrics"]["logits_sha256"]


def test_the_targets_have_verdicts(undisturbed):
    report = json.loads(undisturbed[1].stdout)
    atom, cpu, tx2 = report["targets"]
    assert (atom["target"], cpu["target"]) == ("atom-x5-e3940", "jetson-tx2-cpu")
    for target in (atom, cpu):
        assert (target["verdict"], target["evidence"]) == ("exact", "isa"), target["reason"]
        assert target["emulated"]
        assert target["logits_sha256"] == target["reference_logits_sha256"]
    assert atom["logits_sha256"] == cpu["logits_sha256"]
    assert (tx2["target"], tx2["verdict"]) == ("jetson-tx2", "device-required")


def test_verdicts_are_told_with_their_evidence(undisturbed):
    run, _ = undisturbed
    page = (run / "report.html").read_text()
    assert page.count("exact (isa)") >= 2
    assert "exact (device)" not in page
    table = run_sigdca("report", run).stdout
    assert table.count("exact (isa)") == 2


def test_the_report_is_self_contained(undisturbed):
    page = (undisturbed[0] / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "atom-x5-e3940" in page


@pytest.mark.slow
def test_a_second_run_gives_the_same_container_and_keeps_the_first(undisturbed, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "runs/small")
    done = run_sigdca("run", write_job(tmp_path), "--set", "targets=[]")
    assert done.returncode == 0, done.stderr
    assert "is now small.1" in done.stderr
    expected = (undisturbed[0] / "model.dca").read_bytes()
    assert (tmp_path / "runs/small/model.dca").read_bytes() == expected
    assert (tmp_path / "runs/small.1/model.dca").read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["TRAIN #1", "RETRAIN share #1"])
def test_a_driver_killed_in_a_stage_resumes_to_the_same_container(undisturbed, tmp_path, stage):
    job = write_job(tmp_path)
    command = [sys.executable, "-m", "sigdca", "run", str(job), "--set", "targets=[]"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as driver:
        for line in driver.stderr:
            if line.startswith(f"{stage} ..."):
                break
        else:
            raise AssertionError(f"the run never came to {stage}")
        driver.stderr.readline()  # into the stage: its first epoch
        os.kill(driver.pid, signal.SIGKILL)
    assert not (tmp_path / "runs/small/model.dca").exists()
    done = subprocess.run(
        [*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = (undisturbed[0] / "model.dca").read_bytes()
    assert (tmp_path / "runs/small/model.dca").read_bytes() == expected


def test_ctrl_c_ends_with_exit_code_3_and_a_word(tmp_path):
    command = [sys.executable, "-m", "sigdca", "train", str(write_job(tmp_path))]
    # A shell lets Ctrl-C through; a test runner's children may have it ignored.
    with subprocess.Popen(
        [*command, "--set", "train.epochs=2000"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as driver:
        for line in driver.stderr:
            if line.startswith("  epoch"):
                break
        driver.send_signal(signal.SIGINT)
        said = driver.stderr.read()
        assert driver.wait() == 3, said
    assert "sigdca: interrupted; the same command with --resume goes on from here" in said
    assert "Traceback" not in said


def test_a_finished_run_resumes_from_its_ledger_alone(undisturbed):
    run, done = undisturbed
    job = run.parent.parent / "small.yaml"
    again = run_sigdca("run", job, "--resume", "--json")
    assert again.returncode == 0
    assert again.stderr.count("from the ledger") == 13  # all but the missing board
    assert json.loads(again.stdout)["best"] == json.loads(done.stdout)["best"]


def test_a_missed_budget_is_exit_code_1_with_the_best_named(undisturbed, tmp_path):
    """Resumes a copy of the finished run with a budget that nothing can meet."""
    shutil.copytree(undisturbed[0], tmp_path / "runs/small")
    job = write_job(tmp_path)
    flags = ("--set", "budget.container_bytes=100", "--set", "compress.iterations=1")
    done = run_sigdca("compress", job, "--resume", "--json", *flags)
    assert done.returncode == 1, done.stderr
    assert "the budget was not met" in done.stderr
    report = json.loads(done.stdout)
    assert report["budget"][0]["met"] is False
    assert Path(report["best"]["path"]).is_file()


def test_report_writes_the_report_anew(undisturbed):
    run, done = undisturbed
    (run / "report.html").unlink()
    again = run_sigdca("report", run, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["best"] == json.loads(done.stdout)["best"]
    assert (run / "report.html").is_file()


@pytest.mark.slow
def test_a_job_for_a_users_own_network(tmp_path):
    (tmp_path / "mynet.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(\n"
        "            nn.Conv2d(1, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),\n"
        "            nn.Flatten(), nn.Linear(144, 10))\n"
        "    def forward(self, x):\n"
        "        return self.body(x)\n"
    )
    job = tmp_path / "mine.yaml"
    job.write_text(
        "name: mine\nmodel: mynet:Net\ndata: {source: mnist, limit: 1000}\n"
        "train: {workers: 2, epochs: 1, batch_size: 50}\n"
        "compress:\n  recipe:\n    - prune: {sparsity: {fc: 0.8}, epochs: 1}\n"
        "    - share: {bits: 4, epochs: 1}\n    - encode\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "sigdca", "run", "mine.yaml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [layer["name"] for layer in report["layers"]][:1] == ["body.0"]
