"""Starting a runner's processes on the target's side, watching them, taking their results."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.edge import launch
from sigdca.edge.confine import Confined, confine
from sigdca.edge.runners import Runner
from sigdca.engines.agreement import Logits, logits_sha256
from sigdca.errors import EngineError, FormatError, StorageError
from sigdca.job.limits import Limits
from sigdca.targets import Emulator

MAX_LOG_CHARS = 10_000

# All that a runner inherits. Variables that tune numeric libraries for this machine (such as
# OPENBLAS_CORETYPE=Haswell, SIGDCA_ISA=avx2) must not reach it: an emulated Atom would die of its
# first AVX2 instruction, and a thread count from outside would change what is measured.
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
        limits: which held, and how; which did not, and why.
        memory_bytes: the most that the model and one process's engine held, where it says so.
    """

    logits: Logits
    engine: str
    latency_us: float | None
    runtime: str
    log: str
    limits: tuple[str, ...] = ()
    memory_bytes: int | None = None


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


@dataclass(frozen=True)
class _Place:
    """What the processes of one leg have in common."""

    runner: Runner
    emulator: Emulator | None
    confined: Confined
    environment: dict[str, str]
    deadline: float
    timeout_s: float


def run_processes(
    runner: Runner,
    model: bytes,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    emulator: Emulator | None,
    num_processes: int,
    timeout_s: float,
    limits: Limits | None = None,
) -> Outcome:
    """Runs the model in one or more processes; all are gone when this returns.

    Args:
        runner: what runs it.
        model: the model file's content.
        images: uint8 [n, C, H, W].
        labels: whole numbers [n], uint8, int32 or int64.
        emulator: what the processes run in; None: this machine itself.
        num_processes: consecutive shares of the images, one process each.
        timeout_s: for all of them together.
        limits: what they may use, None: all; one of memory or time makes them a single process,
            as a device has it.

    Raises:
        RunnerError: a process crashed, refused, or took too long.
        EngineError: the engine is not installed here, or a file is not what it said.
        FormatError: a runner's files are not what they must be.
        StorageError: there is no room for the files in between.
    """
    limits = limits or Limits()
    num_processes = min(num_processes, limits.cores or num_processes)
    if limits.memory_bytes is not None or limits.clock_share is not None:
        num_processes = 1
    shares = np.array_split(np.arange(len(images)), max(1, min(num_processes, len(images))))
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"LC_ALL": "C.UTF-8"} | runner.environment()
    deadline = time.monotonic() + timeout_s
    try:
        with (
            confine(limits, emulated=emulator is not None) as confined,
            tempfile.TemporaryDirectory(prefix="sigdca-leg-") as name,
        ):
            place = _Place(runner, emulator, confined, environment, deadline, timeout_s)
            path = Path(name, runner.model_name)
            path.write_bytes(model)
            folders = []
            for number, share in enumerate(shares):
                folder = Path(name, str(number))
                folder.mkdir()
                np.save(folder / "images.npy", images[share[0] : share[-1] + 1])
                np.save(folder / "labels.npy", labels[share[0] : share[-1] + 1])
                folders.append(folder)
            return _run(place, path, folders, [len(share) for share in shares])
    except OSError as error:
        raise StorageError(f"test leg: {error.filename or 'files'}: {error.strerror}") from error


def _run(place: _Place, model: Path, folders: Sequence[Path], counts: Sequence[int]) -> Outcome:
    """The test in every folder at once; then, of a board that one process had, the latency."""
    runner, emulated = place.runner, place.emulator is not None
    log = _to_the_end(
        place, [(runner.test(model, folder, emulated=emulated), folder) for folder in folders]
    )
    told = [runner.told(folder) for folder in folders]
    logits = [_logits(folder / "logits.npy") for folder in folders]
    for part, said, count in zip(logits, told, counts, strict=True):
        if part.ndim != 2 or len(part) != count or part.shape[1] != logits[0].shape[1]:
            raise EngineError(f"test leg: logits must have shape ({count}, K), got {part.shape}")
        hashed = said.logits_sha256 is not None and part.dtype == np.float32
        if hashed and said.logits_sha256 != logits_sha256(part):
            raise EngineError("test leg: logits.npy does not hold the logits that were computed")
    latency_us = None
    if not emulated and len(folders) == 1:
        latency_us = told[0].latency_us
        bench = runner.bench(model)
        if bench is not None:
            folder = folders[0] / "bench"
            folder.mkdir()
            log += _to_the_end(place, [(bench, folder)])
            latency_us = runner.latency_us(folder)
    return Outcome(
        logits=np.concatenate(logits),
        engine=told[0].engine,
        latency_us=latency_us,
        runtime=told[0].runtime,
        log=log[-MAX_LOG_CHARS:],
        limits=tuple(place.confined.said),
        memory_bytes=told[0].memory_bytes,
    )


def _to_the_end(place: _Place, commands: Sequence[tuple[list[str], Path]]) -> str:
    """Runs commands, each in its folder, at the same time; gives what they said."""
    processes: list[_Process] = []
    try:
        for command, folder in commands:
            processes.append(_start(command, folder, place))
        _wait(processes, place)
        return "\n".join(process.log() for process in processes)
    finally:
        _end(processes)


def _start(command: list[str], folder: Path, place: _Place) -> _Process:
    if place.emulator is not None:
        command = place.emulator.command(command)
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
    with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
        popen = subprocess.Popen(
            [*launcher, *place.confined.options, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=place.environment,
            start_new_session=True,  # a group of its own, so that all of it can be ended
        )
    return _Process(popen, folder)


def _wait(processes: Sequence[_Process], place: _Place) -> None:
    """Until all have ended well; the first fault ends the wait."""
    running = list(processes)
    while running:
        for process in list(running):
            code = process.popen.poll()
            if code is None:
                continue
            running.remove(process)
            if code != 0:
                log = process.log()
                raise RunnerError(_died(code, log) + place.confined.why_ended(log), log)
        if running and time.monotonic() >= place.deadline:
            said = f"test leg: no result within {place.timeout_s:g} s"
            raise RunnerError(said + place.confined.why_ended(""), running[0].log())
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


def _logits(path: Path) -> Logits:
    try:
        logits: Logits = np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # numpy's parser lets through whatever the file provokes
        reason = str(error).partition("\n")[0][:200]
        raise FormatError(f"test leg: {path.name}: {reason}") from error
    return logits
