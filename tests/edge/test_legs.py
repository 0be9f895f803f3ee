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

from sigdca.codec import decode_container
from sigdca.edge import legs
from sigdca.edge.legs import LegResult, device_required, run_test_leg, without_a_leg
from sigdca.engines import logits_sha256, to_onnx
from sigdca.errors import EngineError
from sigdca.targets import Target, load_target
from sigdca.targets.memory import memory_bytes
from tests.conftest import ROOT


def run(target: Target, case, **changes) -> LegResult:
    options = {"reference_logits": case.reference, "emulated": True, "timeout_s": 120.0} | changes
    model = options.pop("model", case.model)
    return run_test_leg(target, model, case.images, case.labels, **options)


def with_emulator(target: Target, body: str, folder: Path) -> Target:
    """The target with a script for an emulator; it starts well, and then does `body`."""
    program = folder / "toy"
    program.write_text(f'#!/bin/sh\ncase "$*" in *images.npy*) ;; *) exit 0 ;; esac\n{body}\n')
    program.chmod(0o755)
    assert target.emulator is not None
    spec = target.emulator.model_copy(update={"program": str(program), "cpu": "toy"})
    return target.model_copy(update={"emulator": spec})


def this_machine(tmp_path: Path, engine: str = "native") -> Target:
    """A target that this machine is: what a board sees of itself."""
    board = tmp_path / "board"
    board.write_text("this very machine")
    target = load_target("atom-x5-e3940")
    device = target.device.model_copy(
        update={"machine": platform.machine(), "file": str(board), "pattern": "this very"}
    )
    changes = {"name": "this-machine", "engine": engine, "device": device, "emulator": None}
    return target.model_copy(update=changes)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where legs keep their files; empty again after each."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.glob("sigdca-leg-*")) == []


@pytest.mark.parametrize(
    ("name", "emulator", "cpu", "isa"),
    [
        ("atom", "qemu-x86_64 version ", "-cpu Denverton", "sse4.2"),
        ("tx2_cpu", "qemu-aarch64 version ", "-cpu cortex-a57", "neon"),
    ],
)
def test_native_legs_are_exact(request, case, folders, name, emulator, cpu, isa):
    result = run(request.getfixturevalue(name), case)
    assert (result.verdict, result.evidence) == ("exact", "isa"), result.reason
    assert result.emulated
    assert result.latency_us is None, "an emulated time is never a device's"
    assert (result.num_samples, result.accuracy, result.error) == (50, 90.0, 10.0)
    assert (result.argmax_flips, result.max_abs_difference) == (0, 0.0)
    assert result.logits_sha256 == logits_sha256(case.reference)
    assert result.reference_logits_sha256 == logits_sha256(case.reference)
    assert result.emulator.startswith(emulator)
    assert result.emulator.endswith(cpu)
    assert isa in result.runtime
    assert "exact profile" in result.runtime
    assert "warning" not in result.reason
    here = memory_bytes(load_target(result.target), case.model)
    # Of another kind of processor it is that of vectors as wide, whose layouts hardly differ.
    assert result.memory_bytes == pytest.approx(here, rel=0 if name == "atom" else 0.01)


def test_onnxruntime_on_an_emulated_atom_agrees_but_for_rounding(onnx_atom, onnx_case, folders):
    result = run(onnx_atom, onnx_case)
    assert result.verdict in ("exact", "tolerance"), result.reason
    assert (result.evidence, result.emulated) == ("isa", True)
    assert result.latency_us is None, "an emulated time is never a device's"
    assert (result.num_samples, result.accuracy, result.error) == (50, 90.0, 10.0)
    assert result.argmax_flips == 0
    assert result.max_abs_difference < 1e-5
    same = result.logits_sha256 == logits_sha256(onnx_case.reference)
    assert (result.verdict == "exact") == same
    assert result.engine.startswith("onnxruntime ")
    assert "AVX" not in result.runtime
    assert "X86_V3" not in result.runtime
    assert any("warning: TCG doesn't support" in line for line in result.log)
    assert "warning" not in result.reason


@pytest.mark.parametrize("kind", ["", "onnx_"], ids=["native", "onnxruntime"])
def test_hash_depends_neither_on_the_number_of_processes_nor_on_tuning_variables(
    request, folders, monkeypatch, kind
):
    atom = request.getfixturevalue(f"{kind}atom")
    case = request.getfixturevalue(f"{kind}case")
    alone = run(atom, case)
    # Taken over from the host, the first two would end an Atom by SIGILL, the third change sums.
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("SIGDCA_ISA", "avx2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    shared = run(atom, case, num_processes=3)
    assert alone.verdict != "device-required", alone.reason
    assert shared.verdict == alone.verdict
    assert shared.logits_sha256 == alone.logits_sha256


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_a_board_gives_exact_bits_device_evidence_and_a_latency(request, folders, engine):
    case = request.getfixturevalue("case" if engine == "native" else "onnx_case")
    board = this_machine(folders, engine)
    result = run(board, case, emulated=False)
    assert (result.verdict, result.evidence) == ("exact", "device"), result.reason
    assert result.logits_sha256 == logits_sha256(case.reference)
    assert result.max_abs_difference == 0.0
    assert result.latency_us > 0
    assert (result.emulated, result.emulator) == (False, None)
    shared = run(board, case, emulated=False, num_processes=2)
    assert (shared.verdict, shared.latency_us) == ("exact", None), "two shared the board"


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


def test_device_without_the_runners_engine(case, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGDCA_TRTEXEC", str(tmp_path / "none"))
    result = run(this_machine(tmp_path, "tensorrt"), case, emulated=False)
    assert result.verdict == "device-required"
    assert "trtexec is not on SIGDCA_TRTEXEC" in result.reason


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-fp16"])
def test_a_board_with_tensorrt_has_a_verdict_of_its_own(folders, case, monkeypatch, engine):
    """By a program that stands for trtexec; its text has six digits of each logit."""
    program = folders / "trtexec"
    stand_in = ROOT / "tests/unit/engines/trtexec_stand_in.py"
    program.write_text(
        f'#!/bin/sh\nSTAND_IN_LOG="{folders}/log" exec "{sys.executable}" "{stand_in}" "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("SIGDCA_TRTEXEC", str(program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders / "cache"))
    container = decode_container(case.model)
    model = to_onnx(container.graph, container.tensors)
    result = run(this_machine(folders, engine), case, emulated=False, model=model)
    assert (result.verdict, result.evidence) == ("tolerance", "device"), result.reason
    assert result.engine == f"{engine} 8.2.1"
    assert result.argmax_flips == 0
    assert result.latency_us > 0
    assert len(list((folders / "cache/sigdca/tensorrt").glob("*.plan"))) == 1


def test_engines_without_a_leg_are_told_before_anything_is_made_for_them(atom):
    assert without_a_leg(atom, None) is None
    assert without_a_leg(load_target("jetson-tx2"), "device") is None
    result = without_a_leg(load_target("jetson-tx2"), None)
    assert result.verdict == "device-required"
    assert "Pascal GPU (sm_62), which cannot be emulated" in result.reason
    other = without_a_leg(atom.model_copy(update={"engine": "tensorrt"}), "isa")
    assert other.reason.endswith("its engine tensorrt cannot be emulated; run on the device")


@pytest.mark.parametrize("emulated", [True, False])
def test_missing_program_is_a_reason(request, case, tmp_path, monkeypatch, emulated):
    target = request.getfixturevalue("atom") if emulated else this_machine(tmp_path)
    name = f"SIGDCA_DCA_RUN_{target.device.machine.upper()}"
    monkeypatch.setenv(name, str(tmp_path / "none"))
    result = run(target, case, emulated=emulated)
    assert result.verdict == "device-required"
    assert f"{name}={tmp_path}/none is not a program" in result.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("kill -ILL $$", "died of SIGILL: it executed an instruction the target lacks"),
        ("exit 132", "died of SIGILL: it executed an instruction the target lacks"),
        ("kill -SEGV $$", "died of SIGSEGV"),
        ("kill -KILL $$", "died of SIGKILL"),
        ("echo 'no such luck' >&2; exit 9", "failed with exit code 9: no such luck"),
        ("exit 0", "stdout: Expecting value"),
    ],
)
def test_crashing_runner_is_a_reason(atom, case, folders, body, reason):
    result = run(with_emulator(atom, body, folders), case, num_processes=2)
    assert (result.verdict, result.evidence, result.emulated) == ("device-required", None, True)
    assert reason in result.reason
    assert "\n" not in result.reason
    assert result.logits_sha256 is None
    assert result.duration_s < 60


@pytest.mark.parametrize("kind", ["", "onnx_"], ids=["native", "onnxruntime"])
def test_an_instruction_that_the_emulated_cpu_lacks(request, folders, kind):
    """Programs for an Atom need SSE4.2; on a CPU without it the real one really cannot run."""
    atom = request.getfixturevalue(f"{kind}atom")
    spec = atom.emulator.model_copy(update={"cpu": "core2duo"})
    lesser = atom.model_copy(update={"emulator": spec})
    result = run(lesser, request.getfixturevalue(f"{kind}case"))
    if kind:
        assert result.verdict == "device-required"
        assert "died of SIGILL: it executed an instruction the target lacks" in result.reason
        assert any("uncaught target signal 4" in line for line in result.log)
    else:  # dca-run chooses by CPUID, down to plain code
        assert result.verdict == "exact", result.reason
        assert "reference" in result.runtime


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


@pytest.mark.parametrize("delay_s", [0.0, 1.0], ids=["while it starts", "while it works"])
def test_runner_dies_with_a_killed_driver(atom, case, tmp_path, delay_s):
    """SIGKILL leaves the driver no time to end its emulators: the kernel does it."""
    spec = tmp_path / "case.npz"
    images = np.repeat(case.images, 2000, axis=0)
    np.savez(spec, images=images, labels=np.repeat(case.labels, 2000))
    (tmp_path / "model").write_bytes(case.model)
    driver = (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from sigdca.edge.processes import run_processes\n"
        "from sigdca.edge.runners import runner_for\n"
        "from sigdca.targets import find_emulator, load_target\n"
        f"case = np.load({str(spec)!r})\n"
        f"model = Path({str(tmp_path)!r}, 'model').read_bytes()\n"
        "target = load_target('atom-x5-e3940')\n"
        "runner, emulator = runner_for(target), find_emulator(target)\n"
        "run_processes(runner, model, case['images'], case['labels'], emulator, 1, 300.0)\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", driver], env=environment)
    try:
        runner = _wait_for(lambda: _runner_below(process.pid), 30.0)
        time.sleep(delay_s)
        assert Path(f"/proc/{runner}").exists(), "it has ended before the test could begin"
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
        if int(fields_[1]) == parent and b"images.npy" in command:
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


PROGRAM = """#!{python}
import hashlib, json, os, sys
import numpy as np
arguments = sys.argv[1:]
option = lambda name: arguments[arguments.index(name) + 1]
if arguments[0] == "bench":
    print(json.dumps({bench}))
    sys.exit(0)
images, labels = np.load(option("--images")), np.load(option("--labels"))
logits = np.load({reference!r})
assert len(images) == len(labels) == len(logits) and option("--profile") == "exact"
result = {{"engine": "native 9", "isa": "toy", "profile": "exact", "threads": 1}}
result["memory_bytes"] = 123456
{before}
result.setdefault("logits_sha256", hashlib.sha256(logits.tobytes()).hexdigest())
{after}
np.save(option("--logits"), logits)
print(json.dumps(result))
"""


@pytest.fixture
def toy(case, tmp_path, monkeypatch):
    """A board whose `dca-run` knows the logits by heart, and then does something else."""

    def run_toy(before="", after="", bench="{'p50_us': 12.5}"):
        np.save(tmp_path / "reference.npy", case.reference)
        program = tmp_path / "dca-run"
        text = PROGRAM.format(
            python=sys.executable,
            reference=str(tmp_path / "reference.npy"),
            before=before,
            after=after,
            bench=bench,
        )
        program.write_text(text)
        program.chmod(0o755)
        target = this_machine(tmp_path)
        monkeypatch.setenv(f"SIGDCA_DCA_RUN_{target.device.machine.upper()}", str(program))
        return run(target, case, emulated=False)

    return run_toy


def test_what_dca_run_says_is_in_the_result(toy):
    result = toy()
    assert (result.verdict, result.evidence) == ("exact", "device"), result.reason
    assert (result.engine, result.latency_us) == ("native 9", 12.5)
    assert result.runtime == "dca-run, toy, exact profile, 1 thread"
    assert result.memory_bytes == 123456
    older = toy("del result['memory_bytes']")
    assert (older.verdict, older.memory_bytes) == ("exact", None)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("", "logits = logits + 1", "logits.npy does not hold the logits that were computed"),
        ("logits[3, 3] = np.nan", "", "logits of image 3 are not finite"),
        ("logits = logits[:, :9]", "", "shape (50, 9), the reference has (50, 10)"),
        ("logits = logits[:-1]", "", "logits must have shape (50, K), got (49, 10)"),
        ("logits = logits.ravel()", "", "logits must have shape (50, K), got (500,)"),
        ("logits = logits.astype('f8')", "", "logits must be float32, got float64"),
        ("logits = logits.astype('U9')", "", "logits must be float32, got <U9"),
        ("logits = logits[::-1].copy()", "", "beyond tolerance: logits differ"),
        ("", "option = lambda name: os.devnull", "logits.npy: "),
        (
            "",
            "open(option('--logits'), 'w').write('x'); print(json.dumps(result)); sys.exit(0)",
            "logits.npy: ",
        ),
        ("", "del result['isa']", "key 'isa' is missing"),
        ("", "result['threads'] = 'many'", "key 'threads' of its result: got 'many'"),
        ("", "result['memory_bytes'] = 1.5", "key 'memory_bytes' of its result: got 1.5"),
        ("", "result = [result]", "stdout: must be a JSON object"),
        ("", "print('hello')", "stdout: Expecting value"),
        ("print('bad container', file=sys.stderr); sys.exit(2)", "", "code 2: bad container"),
        ("os.kill(os.getpid(), 9)", "", "died of SIGKILL"),
        ("os.kill(os.getpid(), 4)", "", "died of SIGILL"),
    ],
)
def test_whatever_dca_run_does_becomes_a_reason(toy, before, after, reason):
    result = toy(before, after)
    assert result.verdict == "device-required"
    assert reason in result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize(
    ("bench", "reason"),
    [
        ("{}", "key 'p50_us' is missing"),
        ("os.kill(os.getpid(), 11)", "died of SIGSEGV"),
    ],
)
def test_a_board_that_cannot_measure_is_a_reason(toy, bench, reason):
    result = toy(bench=bench)
    assert result.verdict == "device-required"
    assert reason in result.reason


def test_a_program_of_another_machine_is_a_reason(case, tmp_path, monkeypatch):
    program = tmp_path / "dca-run"
    program.write_bytes(b"\x7fELF nothing more")
    program.chmod(0o755)
    target = this_machine(tmp_path)
    monkeypatch.setenv(f"SIGDCA_DCA_RUN_{target.device.machine.upper()}", str(program))
    result = run(target, case, emulated=False)
    assert result.verdict == "device-required"
    assert "cannot be started: Exec format error" in result.reason


def test_rounding_is_tolerated(case, tmp_path):
    reference = np.nextafter(case.reference, np.float32(np.inf))
    result = run(this_machine(tmp_path), case, emulated=False, reference_logits=reference)
    assert (result.verdict, result.evidence) == ("tolerance", "device")
    assert 0 < result.max_abs_difference < 1e-6


@pytest.mark.parametrize("damage", ["empty", "no model", "cut", "one bit"])
def test_damaged_container_is_a_reason(atom, case, damage):
    middle = len(case.model) // 2
    flipped = bytes([case.model[middle] ^ 1])
    model = {
        "empty": b"",
        "no model": b"not a model",
        "cut": case.model[:1000],
        "one bit": case.model[:middle] + flipped + case.model[middle + 1 :],
    }[damage]
    result = run(atom, case, model=model)
    assert (result.verdict, result.logits_sha256) == ("device-required", None)
    assert "exit code 2: " in result.reason


@pytest.mark.parametrize("model", [b"", b"not a model", pytest.param(None, id="truncated")])
def test_damaged_onnx_is_a_reason(onnx_case, tmp_path, model):
    model = onnx_case.model[:1000] if model is None else model
    target = this_machine(tmp_path, "onnxruntime")
    result = run(target, onnx_case, emulated=False, model=model)
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
