"""`sigdca submit` and `ray job submit`, against a real head with its token on."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sigdca.data import load
from tests.conftest import ROOT, SMALL_JOB, emulated
from tests.images import write_image

RAY = str(Path(sys.executable).with_name("ray"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A head with dashboard and token; gives the environment and address of a submitter."""
    folder = tmp_path_factory.mktemp("h")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    port, dashboard = free_port(), free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sigdca"
    environment = clean | {
        "HOME": str(folder),
        "SIGDCA_CACHE": os.environ.get("SIGDCA_CACHE", str(cache)),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [RAY, "start", "--head", "--block", "--num-cpus", "2", "--port", str(port)]
    command += ["--dashboard-port", str(dashboard), "--disable-usage-stats"]
    # Its default is a fixed number, which another cluster on this machine may have.
    command += ["--dashboard-agent-listen-port", str(free_port())]
    command += ["--labels", "sigdca.io/site=private"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        _wait_for(dashboard, process)
        _wait_for_agent(environment, address, folder)
        yield environment, address, f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, "the head ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the dashboard did not come up")


def _wait_for_agent(environment, address, folder):
    """The dashboard answers before a node's agent can take a job."""
    command = [RAY, "job", "submit", "--address", address, "--", "true"]
    for _ in range(30):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if "No available agent" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return
        time.sleep(1)
    raise AssertionError("no agent came up")


@pytest.fixture
def working_dir(tmp_path):
    """What a user has: a folder with jobs/, and nothing else."""
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")
    (tmp_path / "jobs/small.yaml").write_text(SMALL_JOB + f"storage: {tmp_path}/runs\n")
    return tmp_path


def submit(environment, address, working_dir, *command):
    return subprocess.run(
        [RAY, "job", "submit", "--address", address, "--working-dir", ".", "--", *command],
        cwd=working_dir,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_submitted_job_runs_the_loop_on_the_cluster(head, working_dir):
    environment, address, _ = head
    done = submit(environment, address, working_dir, "sigdca", "run", "jobs/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert (working_dir / "runs/small/model.dca").is_file()
    assert (working_dir / "runs/small/report.html").is_file()
    assert done.stdout.count("exact (isa)") == 2


@pytest.mark.slow
def test_runs_of_a_submitted_job_outlive_its_working_dir(head, working_dir):
    """The very job file of README, with its relative storage folder."""
    environment, address, _ = head
    done = submit(
        environment,
        address,
        working_dir,
        "sigdca",
        "train",
        "jobs/lenet-5-mnist.yaml",
        "--smoke-test",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = Path(environment["HOME"]) / "sigdca/runs/lenet-5-mnist-smoke"
    assert (kept / "report.html").is_file()
    assert str(kept) in done.stdout.replace("\n", "")


def test_images_are_imported_by_a_submitted_job(head, working_dir):
    """docs/data.md: the servers write the shards, and the driver, one of them, the manifest."""
    environment, address, _ = head
    for split, count in (("train", 6), ("val", 2)):
        for name in "ab":
            for number in range(count):
                write_image(working_dir / "digits" / split / name / f"{number}.png", 20 * number)
    folder, destination = str(working_dir / "digits"), str(working_dir / "digits-8")
    words = ["sigdca", "data", "import", folder, destination, "--size", "8,8", "--grey"]
    done = submit(environment, address, working_dir / "jobs", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 train images, 4 test images of 2 classes" in done.stdout
    found = load(destination, "train")
    assert found.images.shape == (12, 1, 8, 8)
    assert sorted(found.labels) == 6 * [0] + 6 * [1]


def sigdca(environment, working_dir, *words):
    return subprocess.run(
        [sys.executable, "-m", "sigdca", *words],
        cwd=working_dir,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_submit_waits_shows_and_gives_the_jobs_own_exit_code(head, working_dir):
    environment, address, _ = head
    words = ["submit", "jobs/small.yaml", "--verb", "train", "--address", address]
    bad = sigdca(environment, working_dir, *words, "--set", "model=lenet-6", "--logs", "--json")
    assert bad.returncode == 2, bad.stderr
    assert "did you mean 'lenet-5'?" in bad.stderr
    told = json.loads(bad.stdout)
    assert (told["status"], told["exit_code"], told["verb"]) == ("FAILED", 2, "train")
    assert told["id"].startswith("small-train-")
    listed = sigdca(environment, working_dir, "submitted", "list", "--address", address, "--json")
    assert told["id"] in [one["id"] for one in json.loads(listed.stdout)["submissions"]]
    printed = sigdca(
        environment, working_dir, "submitted", "logs", told["id"], "--address", address
    )
    assert "did you mean 'lenet-5'?" in printed.stdout


@pytest.fixture(scope="module")
def emulating_node(head, tmp_path_factory):
    """`sigdca edge join` on this machine; gives the target that it stands for."""
    environment, _, address = head
    target = emulated("atom-x5-e3940").name
    words = ["edge", "join", "--address", address, "--target", target, "--emulated"]
    log = tmp_path_factory.mktemp("j") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "sigdca", *words, "--num-cpus", "1"],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        for _ in range(900):
            assert process.poll() is None, log.read_text()
            if "Ray runtime started" in log.read_text():
                break
            time.sleep(0.1)
        yield target
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.mark.slow
def test_a_stopped_submission_goes_on_and_is_retested_where_a_node_joined(
    head, working_dir, emulating_node
):
    environment, address, _ = head
    words = ["submit", "jobs/small.yaml", "--address", address, "--json"]
    words += ["--set", "train.epochs=30"]
    words += ["--set", "compress.recipe=[{prune: {sparsity: 0.9, epochs: 1}}, encode]"]
    begun = sigdca(environment, working_dir, *words)
    assert begun.returncode == 0, begun.stderr
    assert "target 'jetson-tx2': its engine tensorrt runs on the Pascal GPU" in begun.stderr
    assert "target 'jetson-tx2-cpu': no node of this cluster stands for it" in begun.stderr
    assert f"target '{emulating_node}'" not in begun.stderr
    name = json.loads(begun.stdout)["id"]
    for _ in range(900):
        if list((working_dir / "runs/small").glob("checkpoints/*/*/checkpoint.sha256")):
            break
        time.sleep(0.1)
    stop = ["submitted", "stop", name, "--address", address, "--json"]
    assert json.loads(sigdca(environment, working_dir, *stop).stdout)["status"] == "STOPPED"
    status = ["submitted", "status", name, "--address", address, "--json"]
    assert json.loads(sigdca(environment, working_dir, *status).stdout)["status"] == "STOPPED"
    done = sigdca(environment, working_dir, *words, "--verb", "compress", "--resume", "--logs")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "SUCCEEDED"
    trained = done.stderr.partition("TEST #1")[0]
    assert " epoch 30:" in trained
    assert " epoch 1:" not in trained
    gate = ["--verb", "retest", "--set", f"targets=[{emulating_node}]", "--logs"]
    tested = sigdca(environment, working_dir, *words, *gate)
    assert tested.returncode == 0, tested.stderr
    assert "exact (isa)" in tested.stderr


def test_address_joins_a_running_cluster(head, working_dir):
    environment, _, address = head
    command = [sys.executable, "-m", "sigdca", "train", "jobs/small.yaml", "--address", address]
    done = subprocess.run(
        command, cwd=working_dir, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    port = address.partition(":")[2]
    assert f":{port}\n" in done.stderr.partition("TRAIN")[0]


def test_a_wrong_token_is_refused_in_one_line(head, working_dir):
    environment, _, address = head
    wrong = {name: value for name, value in environment.items() if name != "RAY_AUTH_TOKEN_PATH"}
    command = [sys.executable, "-m", "sigdca", "train", "jobs/small.yaml", "--address", address]
    done = subprocess.run(
        command,
        cwd=working_dir,
        env=wrong | {"RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert f"cluster {address}: refused the token" in done.stderr
    assert "Traceback" not in done.stderr
