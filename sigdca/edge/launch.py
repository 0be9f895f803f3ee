"""Becomes another program, which then ends with the process that started it.

    python launch.py PARENT [--cpus=0,1] [--memory=BYTES] [--join=CGROUP.PROCS]... PROGRAM [ARG...]

A leg that was killed cannot end its programs any more; the kernel does. Works for programs of any
kind, inside an emulator too. Needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; outlives execve


def main(arguments: list[str]) -> int:
    """Does not return if all goes well; 3: the program does not start, or the parent is gone."""
    parent, *command = arguments
    while command and command[0].startswith("--"):
        try:
            _limit(*command.pop(0).split("=", 1))
        except OSError as error:
            print(f"limits: cannot be set: {error}", file=sys.stderr)
            return 3
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(parent):  # it was gone before we had asked
        return 3
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", file=sys.stderr)
    return 3


def _limit(option: str, value: str) -> None:
    """A limit on this process, which the program keeps."""
    if option == "--cpus":
        os.sched_setaffinity(0, [int(cpu) for cpu in value.split(",")])
    elif option == "--memory":
        resource.setrlimit(resource.RLIMIT_AS, (int(value), int(value)))
    else:
        with open(value, "w") as file:
            file.write(str(os.getpid()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
