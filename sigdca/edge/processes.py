"""Starting the runner on the target's side, watching it, and taking its results."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.agreement import Logits
from sigdca.errors import EngineError, FormatError, StorageError
from sigdca.targets import Emulator

RUNNER = "sigdca.edge.runner"
MAX_LOG_CHARS = 10_000
MAX_RESULT_BYTES = 100_000
_RESULT_KEYS = ("engine", "numpy", "python", "machine", "simd", "threads", "latency_us")

# All that a runner inherits. Variables that tune numeric libraries for this machine (such as
# OPENBLAS_CORETYPE=Haswell) must not reach it: an emulated Atom would die of its first AVX2
# instruction, and a thread count from outside would change what is measured.
_INHERITED = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")


class RunnerError(EngineError):
    """The runner did not give a result. `log` is what it said on standard error."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Outcome:
    """What the runners gave.

    Attributes:
        logits: in the images' order; not checked yet.
        engine: name and version.
        latency_us: of one image; None if emulated or if several processes shared the machine.
        runtime: versions, machine and vector extensions as seen from inside.
        log: standard error of all processes.
    """

    logits: Logits
    engine: str
    latency_us: float | None
    runtime: str
    log: str


@dataclass
class _Process:
    popen: subprocess.Popen[bytes]
    folder: Path

    def log(self) -> str:
        try:
            text = (self.folder / "stderr").read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""
        return text[-MAX_LOG_CHARS:]


def run_processes(
    onnx_model: bytes,
    images: NDArray[np.uint8],
    emulator: Emulator | None,
    num_processes: int,
    timeout_s: float,
) -> Outcome:
    """Runs the model in one or more runner processes; all are gone when this returns.

    Args:
        onnx_model: the model file's content.
        images: uint8 [n, C, H, W].
        emulator: what the runners run in; None: this machine itself.
        num_processes: consecutive shares of the images, one process each.
        timeout_s: for all of them together.

    Raises:
        RunnerError: a runner crashed, refused, or took too long.
        EngineError: ONNX Runtime is not installed here.
        FormatError: a runner's files are not what they must be.
        StorageError: there is no room for the files in between.
    """
    shares = np.array_split(np.arange(len(images)), max(1, min(num_processes, len(images))))
    environment = _environment()
    processes: list[_Process] = []
    try:
        with tempfile.TemporaryDirectory(prefix="sigdca-leg-") as name:
            model = Path(name, "model.onnx")
            model.write_bytes(onnx_model)
            try:
                for number, share in enumerate(shares):
                    folder = Path(name, str(number))
                    folder.mkdir()
                    np.save(folder / "images.npy", images[share[0] : share[-1] + 1])
                    processes.append(_start(model, folder, emulator, environment))
                _wait(processes, timeout_s)
                return _collect(processes, [len(share) for share in shares])
            finally:
                _end(processes)
    except OSError as error:
        raise StorageError(f"test leg: {error.filename or 'files'}: {error.strerror}") from error


def _environment() -> dict[str, str]:
    """A fixed environment in which the bare interpreter finds this one's packages."""
    folders: list[str] = []
    for package, extra in (("sigdca", ""), ("numpy", ""), ("onnxruntime", "edge")):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise EngineError(f"engine '{package}': not installed; pip install 'sigdca[{extra}]'")
        folder = str(Path(spec.origin).parent.parent)
        if folder not in folders:
            folders.append(folder)
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(folders)
    environment["PYTHONSAFEPATH"] = "1"  # nothing in the working folder can shadow a module
    environment["PYTHONNOUSERSITE"] = "1"
    environment["LC_ALL"] = "C.UTF-8"
    return environment


def _start(
    model: Path, folder: Path, emulator: Emulator | None, environment: dict[str, str]
) -> _Process:
    # A virtual environment's own `python` is a link; an emulator wants the program itself.
    command = [os.path.realpath(sys.executable), "-m", RUNNER]
    command += [str(model), str(folder / "images.npy"), str(folder), "--parent", str(os.getpid())]
    if emulator is not None:
        command = emulator.command([*command, "--emulated"])
    with open(folder / "stderr", "wb") as stderr:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            cwd=folder,
            env=environment,
            start_new_session=True,  # a group of its own, so that all of it can be ended
        )
    return _Process(popen, folder)


def _wait(processes: Sequence[_Process], timeout_s: float) -> None:
    """Until all have ended well; the first fault ends the wait."""
    deadline = time.monotonic() + timeout_s
    running = list(processes)
    while running:
        for process in list(running):
            code = process.popen.poll()
            if code is None:
                continue
            running.remove(process)
            if code != 0:
                log = process.log()
                raise RunnerError(_died(code, log), log)
        if running and time.monotonic() >= deadline:
            raise RunnerError(f"test leg: no result within {timeout_s:g} s", running[0].log())
        if running:
            time.sleep(0.02)


def _died(code: int, log: str) -> str:
    # A shell reports a signal as 128 + its number; a child of ours as minus its number.
    number = -code if code < 0 else code - 128
    if number == signal.SIGILL:
        return "test leg: the runner died of SIGILL: it executed an instruction the target lacks"
    if code < 0 or number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
        with contextlib.suppress(ValueError):
            return f"test leg: the runner died of {signal.Signals(number).name}"
    lines = [line for line in log.strip().splitlines() if "qemu" not in line.split(":")[0]]
    last = f": {lines[-1].strip()[:300]}" if lines else ""
    return f"test leg: the runner failed with exit code {code}{last}"


def _end(processes: Sequence[_Process]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, signal.SIGKILL)
        process.popen.wait()


def _collect(processes: Sequence[_Process], counts: Sequence[int]) -> Outcome:
    results = [_result(process.folder / "result.json") for process in processes]
    logits = [_logits(process.folder / "logits.npy") for process in processes]
    for part, count in zip(logits, counts, strict=True):
        if part.ndim != 2 or len(part) != count or part.shape[1] != logits[0].shape[1]:
            raise EngineError(f"test leg: logits must have shape ({count}, K), got {part.shape}")
    first = results[0]
    threads = f"{first['threads']} thread{'s' * (first['threads'] != 1)}"
    runtime = (
        f"{first['engine']}, numpy {first['numpy']}, Python {first['python']}, "
        f"{first['machine']}, {threads}"
    )
    if first["simd"]:
        runtime += f", numpy finds {' '.join(first['simd'])}"
    return Outcome(
        logits=np.concatenate(logits),
        engine=first["engine"],
        latency_us=first["latency_us"] if len(results) == 1 else None,
        runtime=runtime,
        log="\n".join(process.log() for process in processes)[-MAX_LOG_CHARS:],
    )


def _result(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            result: dict[str, Any] = json.loads(file.read(MAX_RESULT_BYTES))
    except (OSError, ValueError) as error:
        raise FormatError(f"test leg: {path.name}: {error}") from error
    missing = [key for key in _RESULT_KEYS if key not in result]
    if missing:
        raise FormatError(f"test leg: {path.name}: key '{missing[0]}' is missing")
    return result


def _logits(path: Path) -> Logits:
    try:
        logits: Logits = np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # numpy's parser lets through whatever the file provokes
        reason = str(error).partition("\n")[0][:200]
        raise FormatError(f"test leg: {path.name}: {reason}") from error
    return logits
