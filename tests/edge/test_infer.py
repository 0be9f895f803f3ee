"""The daemon as a process: real pipes, signals, updates, and what it costs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigdca.codec import Graph, Op, encode_container
from sigdca.edge.keys import public_text
from sigdca.edge.signing import sign_container
from sigdca.edge.update import Device, Settings, set_up
from sigdca.native import Model, Session

SHAPE = (1, 8, 8)
IMAGES = np.random.default_rng(0).integers(0, 256, (50, *SHAPE), dtype=np.uint8)
REPOSITORY = Path(__file__).parents[2]


def container(seed: int, shape: tuple[int, int, int] = SHAPE) -> bytes:
    rng = np.random.default_rng(seed)
    fc = Op("fc", "f", (1,), {"out_features": 4, "bias": 1})
    graph = Graph(shape, 1 / 256, (Op("flatten", "", (0,)), fc))
    weight = rng.standard_normal((4, int(np.prod(shape)))).astype(np.float32)
    tensors = {"f.weight": weight, "f.bias": rng.standard_normal(4).astype(np.float32)}
    return encode_container(graph, tensors)


def classes(seed: int, images: np.ndarray) -> list[int]:
    logits = Session(Model(container(seed)), profile="fast").run(images)
    return logits.argmax(axis=1).tolist()


def start(*arguments: object, module: str = "sigdca.edge.infer", **options) -> subprocess.Popen:
    environment = options.pop("env", os.environ) | {"PYTHONPATH": str(REPOSITORY)}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # as `sigdca edge infer` sets it
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", *module.split(), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **(pipes | options))


def until(condition, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert process is None or process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "m.dca"
    path.write_bytes(container(1))
    return path


def test_frames_on_stdin_results_on_stdout(model):
    process = start(model, "--deadline-ms", 10_000)
    told, said = process.communicate(IMAGES.tobytes(), timeout=60)
    results = [json.loads(line) for line in told.splitlines()]
    assert process.returncode == 0, said
    assert [one["frame"] for one in results] == list(range(50))
    assert [one["class"] for one in results] == classes(1, IMAGES)
    assert all(one["met"] and one["version"] == 0 for one in results)
    assert b"infer: 50 frames: 50 met, 0 late, 0 dropped" in said


def test_the_same_by_the_command(model, tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    process = start(
        *("edge", "infer", model, "--frames", tmp_path / "x.npy", "--limit", 7),
        module="sigdca",
    )
    told, said = process.communicate(timeout=60)
    assert [json.loads(line)["class"] for line in told.splitlines()] == classes(1, IMAGES[:7])
    assert process.returncode == 0, said


def test_late_frames_are_dropped(model, tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    process = start(
        *(model, "--frames", tmp_path / "x.npy", "--fps", 1000, "--deadline-ms", 0.0001),
        *("--drop", "--summary", tmp_path / "s.json"),
    )
    process.communicate(timeout=60)
    told = json.loads((tmp_path / "s.json").read_text())
    assert told["frames"] == 50
    assert told["dropped"] + told["late"] == 50
    assert told["dropped"] >= 49


def test_a_service_manager_hears_from_it(model, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        process = start(model, env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        heard = [manager.recv(100) for _ in range(2)]
        process.communicate(IMAGES[:1].tobytes(), timeout=30)
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(100))
    assert heard[:2] == [b"READY=1", b"WATCHDOG=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(model, tmp_path, number):
    process = start(model, "--summary", tmp_path / "s.json")
    process.stdin.write(IMAGES[:3].tobytes())
    process.stdin.flush()
    assert len([process.stdout.readline() for _ in range(3)]) == 3
    process.send_signal(number)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told == b""
    assert json.loads((tmp_path / "s.json").read_text())["met"] == 3


def test_a_reader_that_hangs_does_not_keep_it_from_ending(model, tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    process = start(model, "--frames", tmp_path / "x.npy", "--repeat")
    process.stdout.readline()
    time.sleep(1)  # its pipe is full now
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    process.communicate()


def test_a_reader_that_goes_away_ends_it(model):
    process = start(model)
    process.stdout.close()
    process.stdin.write(IMAGES.tobytes())
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "infer: give a MODEL.dca, or --device ROOT"),
        (["none.dca"], 3, "none.dca"),
        (["{model}", "--frames", "none"], 3, "none: cannot read: No such file or directory"),
        (["{model}", "--fps", "9"], 2, "standard input has its own pace and end"),
        (["{model}", "--to", "nowhere"], 2, "address must be unix:PATH or tcp:HOST:PORT"),
        (["{model}", "--cpu", "9999"], 2, "cannot have CPU 9999"),
        (["{model}", "--to", "mqtt://u:secret@h/t"], 2, "no password in an address"),
    ],
)
def test_bad_input_is_one_line(model, arguments, code, message):
    process = start(*(one.format(model=model) for one in arguments))
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert message in said.decode()
    assert said.count(b"\n") == 1
    assert b"secret" not in said


def may_be_real_time() -> bool:
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))"
    command = [sys.executable, "-c", code]
    return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.skipif(not may_be_real_time(), reason="needs the right to SCHED_FIFO")
def test_helpers_stand_just_below_the_loop(model):
    """One that waits with Python's lock in its hand keeps the loop waiting, too."""
    cpu = max(os.sched_getaffinity(0))
    process = start(model, "--fifo", 2, "--cpu", cpu, "--metrics", "127.0.0.1:0")
    process.stderr.readline()
    process.stdin.write(IMAGES[:1].tobytes())
    process.stdin.flush()
    process.stdout.readline()
    others = os.sched_getaffinity(0) - {cpu} or {cpu}

    def all_stand_there() -> bool:  # a thread takes its place as it begins
        threads = [int(one.name) for one in Path(f"/proc/{process.pid}/task").iterdir()]
        found = {
            thread: (
                os.sched_getscheduler(thread),
                os.sched_getparam(thread).sched_priority,
                os.sched_getaffinity(thread),
            )
            for thread in threads
        }
        loop = found.pop(process.pid)
        helpers = list(found.values())
        assert loop == (os.SCHED_FIFO, 2, {cpu})
        return len(helpers) >= 2 and all(one == (os.SCHED_FIFO, 1, others) for one in helpers)

    until(all_stand_there, process)
    process.communicate(timeout=30)


KEY = Ed25519PrivateKey.generate()


def bundle(version: int, content: bytes | None = None) -> bytes:
    return sign_container(
        content or container(version),
        key=KEY,
        version=version,
        channel="stable",
        targets=["board"],
        model="tiny",
    )


@pytest.fixture
def device(tmp_path) -> Device:
    keys = (public_text(KEY.public_key()),)
    settings = Settings("board", "stable", keys, trial_s=0.5, give_up_s=600, min_frames=20)
    device = set_up(tmp_path / "device", settings)
    device.install(bundle(1))
    return device


class Stream:
    """Frames to a daemon one by one, each with its result."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.results = process, []

    def send(self, count: int = 1) -> dict:
        for _ in range(count):
            self.process.stdin.write(IMAGES[len(self.results) % 50].tobytes())
            self.process.stdin.flush()
            self.results.append(json.loads(self.process.stdout.readline()))
        return self.results[-1]

    def until_version(self, version: int) -> None:
        until(lambda: self.send()["version"] == version, self.process)

    def end(self) -> None:
        """Every frame has had its own result, by the version it names."""
        _, said = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, said
        assert [one["frame"] for one in self.results] == list(range(len(self.results)))
        for version in {one["version"] for one in self.results}:
            expected = classes(version, IMAGES)
            for one in self.results:
                if one["version"] == version:
                    assert one["class"] == expected[one["frame"] % 50]


def test_an_update_without_a_lost_frame(device, tmp_path):
    process = start(
        *("--device", tmp_path / "device", "--deadline-ms", 10_000),
        *("--metrics", "127.0.0.1:0"),
    )
    stream = Stream(process)
    assert stream.send()["version"] == 1
    device.install(bundle(2))
    stream.until_version(2)
    until(lambda: stream.send() and device.state().trial is None, process)
    assert device.state().note == "version 2 has proven itself"
    address = process.stderr.readline().decode().split()[-1]
    with urllib.request.urlopen(address, timeout=5) as answer:
        assert b'sigdca_model_info{model="tiny",version="2"} 1' in answer.read()
    stream.end()


def test_missed_deadlines_bring_the_old_one_back(device, tmp_path):
    # Whoever is late at everything is late with the update too.
    process = start("--device", tmp_path / "device", "--deadline-ms", 0.0001)
    stream = Stream(process)
    stream.send()
    device.install(bundle(2))
    stream.until_version(2)
    stream.until_version(1)
    assert "deadlines missed" in device.state().note
    stream.end()


def test_an_update_that_takes_other_frames_is_rolled_back(device, tmp_path):
    process = start("--device", tmp_path / "device")
    stream = Stream(process)
    stream.send()
    device.install(bundle(2, container(2, (1, 4, 4))))
    until(lambda: stream.send() and "rolled back: frames are" in device.state().note, process)
    assert stream.send()["version"] == 1
    stream.end()


def test_a_way_back_to_other_frames_is_a_new_start(device, tmp_path):
    device.install(bundle(2, container(2, (1, 4, 4))))
    np.save(tmp_path / "x.npy", IMAGES[:, :, :4, :4])
    process = start(
        *("--device", tmp_path / "device", "--frames", tmp_path / "x.npy", "--repeat"),
        *("--fps", 100, "--deadline-ms", 0.0001),
        stdout=subprocess.DEVNULL,
    )
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said.count(b"\n")) == (3, 1)
    assert b"version 1 cannot be run: frames are (1, 4, 4), the model takes (1, 8, 8)" in said


def test_it_stays_small_and_starts_without_what_it_does_not_need(device, tmp_path):
    code = (
        "import sys; from sigdca.edge.infer import main; code = main(sys.argv[1:]);"
        "bad = {'torch', 'ray', 'pyarrow', 'typer', 'rich', 'pydantic', 'onnxruntime', 'paho'};"
        "sys.exit(str(bad & set(sys.modules)) if bad & set(sys.modules) else code)"
    )
    np.save(tmp_path / "x.npy", IMAGES)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "--device", str(tmp_path / "device")),
            *("--frames", str(tmp_path / "x.npy"), "--summary", str(tmp_path / "s.json")),
        ],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["rss_bytes"] < 60e6
