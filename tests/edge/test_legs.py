"""The test leg under the real emulator, and everything that can go wrong on the way."""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest

from sigdca.edge import legs
from sigdca.edge.legs import LegResult, device_required, run_test_leg
from sigdca.engines import logits_sha256
from sigdca.errors import EngineError
from sigdca.targets import Target, load_target


def run(target: Target, case, **changes) -> LegResult:
    options = {"reference_logits": case.reference, "emulated": True, "timeout_s": 120.0} | changes
    model = options.pop("model", case.model)
    return run_test_leg(target, model, case.images, case.labels, **options)


def with_emulator(target: Target, body: str, folder: Path) -> Target:
    """The target with a script for an emulator; it starts well, and then does `body`."""
    program = folder / "toy"
    program.write_text(f'#!/bin/sh\ncase "$*" in *runner*) ;; *) exit 0 ;; esac\n{body}\n')
    program.chmod(0o755)
    assert target.emulator is not None
    spec = target.emulator.model_copy(update={"program": str(program), "cpu": "toy"})
    return target.model_copy(update={"emulator": spec})


def this_machine(tmp_path: Path) -> Target:
    """A target that this machine is: what a board sees of itself."""
    board = tmp_path / "board"
    board.write_text("this very machine")
    target = load_target("atom-x5-e3940")
    device = target.device.model_copy(
        update={"machine": platform.machine(), "file": str(board), "pattern": "this very"}
    )
    return target.model_copy(update={"name": "this-machine", "device": device, "emulator": None})


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where legs keep their files; empty again after each."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.glob("sigdca-leg-*")) == []


def test_emulated_atom_agrees_but_for_rounding(atom, case, folders):
    result = run(atom, case)
    assert result.verdict in ("exact", "tolerance"), result.reason
    assert (result.evidence, result.emulated) == ("isa", True)
    assert result.latency_us is None, "an emulated time is never a device's"
    assert (result.num_samples, result.accuracy, result.error) == (50, 90.0, 10.0)
    assert result.argmax_flips == 0
    assert result.max_abs_difference < 1e-5
    assert result.reference_logits_sha256 == logits_sha256(case.reference)
    assert (result.verdict == "exact") == (result.logits_sha256 == logits_sha256(case.reference))
    assert result.emulator.startswith("qemu-x86_64 version ")
    assert result.emulator.endswith("-cpu Denverton")
    assert result.engine.startswith("onnxruntime ")
    assert "AVX" not in result.runtime
    assert "X86_V3" not in result.runtime
    assert any("warning: TCG doesn't support" in line for line in result.log)
    assert "warning" not in result.reason


def test_hash_depends_neither_on_the_number_of_processes_nor_on_tuning_variables(
    atom, case, folders, monkeypatch
):
    alone = run(atom, case)
    # Taken over from the host, the first would end an Atom by SIGILL, the second change sums.
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    shared = run(atom, case, num_processes=3)
    assert alone.verdict != "device-required", alone.reason
    assert shared.verdict == alone.verdict
    assert shared.logits_sha256 == alone.logits_sha256


def test_a_board_gives_exact_bits_device_evidence_and_a_latency(case, folders):
    result = run(this_machine(folders), case, emulated=False)
    assert (result.verdict, result.evidence) == ("exact", "device"), result.reason
    assert result.logits_sha256 == logits_sha256(case.reference)
    assert result.max_abs_difference == 0.0
    assert result.latency_us > 0
    assert (result.emulated, result.emulator) == (False, None)


def test_no_latency_of_processes_that_share_a_board(case, folders):
    result = run(this_machine(folders), case, emulated=False, num_processes=2)
    assert (result.verdict, result.latency_us) == ("exact", None)


def test_a_server_is_not_taken_for_a_board(atom, case):
    result = run(atom, case, emulated=False)
    assert (result.verdict, result.evidence) == ("device-required", None)
    assert "this machine is not one: /proc/cpuinfo does not match" in result.reason


def test_missing_emulator_is_a_verdict_not_an_exception(case, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    result = run(load_target("atom-x5-e3940"), case)
    assert result == device_required(
        load_target("atom-x5-e3940"),
        "target 'atom-x5-e3940': emulator qemu-x86_64 not found; install Debian's qemu-user or "
        "run on the device",
    )


def test_tx2_is_device_required_with_its_reason(case):
    result = run(load_target("jetson-tx2"), case)
    assert (result.verdict, result.evidence, result.emulated) == ("device-required", None, False)
    assert "Pascal GPU (sm_62), which cannot be emulated" in result.reason


def test_device_without_the_runners_engine(case, tmp_path):
    target = this_machine(tmp_path).model_copy(update={"engine": "tensorrt"})
    result = run(target, case, emulated=False)
    assert result.reason.endswith(
        "its engine tensorrt is not there; the test leg runs onnxruntime"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("kill -ILL $$", "died of SIGILL: it executed an instruction the target lacks"),
        ("exit 132", "died of SIGILL: it executed an instruction the target lacks"),
        ("kill -SEGV $$", "died of SIGSEGV"),
        ("kill -KILL $$", "died of SIGKILL"),
        ("echo 'no such luck' >&2; exit 9", "failed with exit code 9: no such luck"),
        ("exit 0", "result.json: "),
    ],
)
def test_crashing_runner_is_a_reason(atom, case, folders, body, reason):
    result = run(with_emulator(atom, body, folders), case, num_processes=2)
    assert (result.verdict, result.evidence, result.emulated) == ("device-required", None, True)
    assert reason in result.reason
    assert "\n" not in result.reason
    assert result.logits_sha256 is None
    assert result.duration_s < 60


def test_an_instruction_that_the_emulated_cpu_lacks(atom, case, folders):
    """NumPy's wheels need SSE4.2; on a CPU without it the real runner really dies."""
    spec = atom.emulator.model_copy(update={"cpu": "core2duo"})
    result = run(atom.model_copy(update={"emulator": spec}), case)
    assert result.verdict == "device-required"
    assert "died of SIGILL: it executed an instruction the target lacks" in result.reason
    assert any("uncaught target signal 4" in line for line in result.log)


def test_time_out_ends_all_processes(atom, case, folders):
    slow = with_emulator(atom, f'echo $$ >> "{folders}/pids"; exec sleep 600', folders)
    begin = time.monotonic()
    result = run(slow, case, num_processes=2, timeout_s=1.5)
    assert time.monotonic() - begin < 30
    assert result.verdict == "device-required"
    assert result.reason == "test leg: no result within 1.5 s"
    pids = [int(line) for line in (folders / "pids").read_text().split()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_crash_ends_the_others(atom, case, folders):
    body = (
        f'mkdir "{folders}/first" 2>/dev/null && exit 9\n'
        f'echo $$ > "{folders}/new" && mv "{folders}/new" "{folders}/pid"; exec sleep 600'
    )
    result = run(with_emulator(atom, body, folders), case, num_processes=2)
    assert "exit code 9" in result.reason
    if (folders / "pid").exists():  # the second may have been ended before it got that far
        with pytest.raises(ProcessLookupError):
            os.kill(int((folders / "pid").read_text()), 0)


@pytest.mark.parametrize("delay_s", [0.0, 3.0], ids=["while it starts", "while it works"])
def test_runner_dies_with_a_killed_driver(atom, case, tmp_path, delay_s):
    """SIGKILL leaves the driver no time to end its emulators: the kernel does it."""
    spec = tmp_path / "case.npz"
    np.savez(spec, images=np.repeat(case.images, 400, axis=0))
    (tmp_path / "model.onnx").write_bytes(case.model)
    driver = (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from sigdca.edge.processes import run_processes\n"
        "from sigdca.targets import find_emulator, load_target\n"
        f"images = np.load({str(spec)!r})['images']\n"
        f"model = Path({str(tmp_path)!r}, 'model.onnx').read_bytes()\n"
        "emulator = find_emulator(load_target('atom-x5-e3940'))\n"
        "run_processes(model, images, emulator, 1, 300.0)\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", driver], env=environment)
    try:
        runner = _wait_for(lambda: _runner_below(process.pid), 30.0)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _wait_for(lambda: not Path(f"/proc/{runner}").exists(), 40.0)
    finally:
        process.kill()
        process.wait()


def _wait_for(condition, seconds: float):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not come to pass in time"
        time.sleep(0.05)
    return found


def _runner_below(parent: int) -> int | None:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields_ = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields_[1]) == parent and b"sigdca.edge.runner" in command:
            return int(stat.parent.name)
    return None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda y: y * np.float32(1.01), "beyond tolerance: logits differ"),
        (lambda y: y[:, ::-1].copy(), "images change class (bound 0)"),
        (lambda y: y[:, :9].copy(), "the reference has (50, 9)"),
    ],
)
def test_other_logits_than_the_servers_need_the_device(case, tmp_path, change, reason):
    target = this_machine(tmp_path)
    result = run(target, case, emulated=False, reference_logits=change(case.reference))
    assert (result.verdict, result.evidence) == ("device-required", "device")
    assert reason in result.reason


def test_rounding_is_tolerated(case, tmp_path):
    reference = np.nextafter(case.reference, np.float32(np.inf))
    result = run(this_machine(tmp_path), case, emulated=False, reference_logits=reference)
    assert (result.verdict, result.evidence) == ("tolerance", "device")
    assert 0 < result.max_abs_difference < 1e-6


@pytest.mark.parametrize("model", [b"", b"not a model", pytest.param(None, id="truncated")])
def test_damaged_model_is_a_reason(case, tmp_path, model):
    model = case.model[:1000] if model is None else model
    result = run(this_machine(tmp_path), case, emulated=False, model=model)
    assert result.verdict == "device-required"
    assert "exit code 3: onnxruntime: model not loaded" in result.reason


def test_no_room_for_the_files(case, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    result = run(this_machine(tmp_path), case, emulated=False)
    assert result.verdict == "device-required"
    assert "No such file or directory" in result.reason


def test_callers_fault_is_an_exception(atom, case):
    with pytest.raises(EngineError, match=r"reference: logits must have shape \(50, K\)"):
        run(atom, case, reference_logits=case.reference[:7])
    with pytest.raises(EngineError, match="50 images but 3 labels"):
        run_test_leg(
            atom,
            case.model,
            case.images,
            case.labels[:3],
            reference_logits=case.reference,
            emulated=True,
        )


def test_a_flip_is_tolerated_only_in_a_great_many_images():
    assert int(legs.MAX_FLIPPED_FRACTION * 9_999) == 0
    assert int(legs.MAX_FLIPPED_FRACTION * 10_000) == 1


def test_result_is_plain_data():
    result = device_required(load_target("jetson-tx2"), "why")
    assert set(asdict(result)) == {field.name for field in fields(LegResult)}


def test_torch_is_never_imported():
    code = "import sys, sigdca.edge.legs, sigdca.edge.runner; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
