"""The programs that run on targets: one static `dca-run` for each kind of machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import sigdca.native

# How one gets a program that is missing; the braces are the environment variable.
_WAYS = {
    "aarch64": "build it with `make native-programs` or set {}",
    "x86_64": "set {} to the one in a package for boards (`make native-targets`)",
}


def find_program(machine: str) -> Path | None:
    """The `dca-run` that runs on such a machine; None if there is none.

    It is what the environment variable `SIGDCA_DCA_RUN_<MACHINE>` names, or lies in this package.

    Args:
        machine: what `platform.machine()` says there, such as `aarch64`.
    """
    named = os.environ.get(f"SIGDCA_DCA_RUN_{machine.upper()}")
    if named:
        return _program(Path(named))
    names = [f"dca-run-{machine}"] + ["dca-run"] * (machine == platform.machine())
    # An editable install has two folders: the source tree's, and that of what was built.
    places = [Path(p) / "bin" / name for name in names for p in sigdca.native.__path__]
    return next(filter(None, map(_program, places)), None)


def missing_program(machine: str) -> str:
    """Why there is no such program, and the way out, for a message."""
    name = f"SIGDCA_DCA_RUN_{machine.upper()}"
    if os.environ.get(name):
        return f"{name}={os.environ[name]} is not a program"
    return f"dca-run for {machine} not found; " + _WAYS.get(machine, "set {} to one").format(name)


def _program(path: Path) -> Path | None:
    return path.absolute() if path.is_file() and os.access(path, os.X_OK) else None
