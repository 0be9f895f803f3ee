"""Finding a target's emulator and starting programs in it: ISA-level emulation, never its time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigdca.errors import TargetError
from sigdca.native.programs import find_program, missing_program
from sigdca.targets.spec import EmulatorSpec, Target

PROBE_TIMEOUT_S = 20.0

# Debian's packages; named in the message when a program is missing.
_PACKAGE = "Debian's qemu-user"


@dataclass(frozen=True)
class Emulator:
    """A user-mode emulator for one target.

    Attributes:
        target: the target's name.
        path: the program.
        cpu: its -cpu option.
        version: what it says of itself, such as `qemu-x86_64 version 7.2.22`.
    """

    target: str
    path: str
    cpu: str
    version: str

    def __str__(self) -> str:
        return f"{self.version} -cpu {self.cpu}"

    def command(self, args: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs a program on the emulated CPU.

        Args:
            args: the program's absolute path and its arguments.
            env: what the program finds in its environment besides the emulator's own.
        """
        options = [f"{name}={value}" for name, value in (env or {}).items()]
        settings = [part for option in options for part in ("-E", option)]
        return [self.path, "-cpu", self.cpu, *settings, *args]

    def probe(self, program: Sequence[str]) -> None:
        """Runs a program that does nothing.

        Args:
            program: it and its arguments.

        Raises:
            TargetError: the emulator does not know the CPU, or cannot run the program.
        """
        code, output = _run(self.command(program), self.target, self.path)
        if code != 0:
            # QEMU begins with one warning for each feature that it lacks; the fault comes last.
            last = output.strip().splitlines()[-1:] or [f"exit code {code}"]
            raise TargetError(
                f"target '{self.target}': emulator {Path(self.path).name} -cpu {self.cpu} cannot "
                f"run {program[0]}: {last[0]}; run on the device"
            )


def check_emulator(target: Target) -> EmulatorSpec:
    """What the target's file says of its emulator, whether or not this machine has it.

    Raises:
        TargetError: it has none, or what it runs cannot be emulated.
    """
    spec = target.emulator
    if spec is None:
        raise TargetError(f"target '{target.name}': has no emulator; run on the device")
    if spec.blocked_by:
        raise TargetError(f"target '{target.name}': {spec.blocked_by}; run on the device")
    return spec


def find_emulator(target: Target) -> Emulator:
    """The emulator of a target, found and probed.

    It is looked for on PATH and beside the Python interpreter, also under its static name.

    Raises:
        TargetError: the target's engine cannot be emulated, or the emulator or the program that is
            to run in it is missing or does not work; one line with the way out.
    """
    spec = check_emulator(target)
    path = _which(spec.program)
    if path is None:
        raise TargetError(
            f"target '{target.name}': emulator {spec.program} not found; install {_PACKAGE} or "
            "run on the device"
        )
    _, output = _run([path, "--version"], target.name, path)
    first = output.splitlines()[0] if output else Path(path).name
    emulator = Emulator(target.name, path, spec.cpu, first.split(" (")[0][:100])
    program = _harmless(target)
    if program is not None:
        emulator.probe(program)
    return emulator


def _harmless(target: Target) -> list[str] | None:
    """What the leg will run, asked for nothing but its version, or this machine's `true`.

    An engine that comes with Python runs in this machine's own interpreter: the emulator must be
    able to run this machine's programs. The native engine brings the target's own program.
    """
    if target.engine == "native":
        program = find_program(target.device.machine)
        if program is None:
            missing = missing_program(target.device.machine)
            raise TargetError(f"target '{target.name}': {missing}; or run on the device")
        return [str(program), "--version"]
    true = shutil.which("true", path=os.defpath)
    return None if true is None else [true]  # no coreutils: the leg itself will be the probe


def _which(program: str) -> str | None:
    beside = str(Path(sys.executable).parent)
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), beside])
    return shutil.which(program, path=places) or shutil.which(f"{program}-static", path=places)


def _run(command: list[str], target: str, path: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise TargetError(
            f"target '{target}': emulator {path} cannot be started: {error.strerror}; "
            f"install {_PACKAGE} or run on the device"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            f"target '{target}': emulator {path} did not answer within {PROBE_TIMEOUT_S:.0f} s; "
            "run on the device"
        ) from error
    return done.returncode, done.stdout.decode("utf-8", "replace")
