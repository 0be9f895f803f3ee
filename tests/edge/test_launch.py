"""The launcher that ties a program's life to its parent's."""

import os
import subprocess
import sys

from sigdca.edge import launch


def launched(parent: int, *command: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-I", "-S", launch.__file__, str(parent), *command]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_becomes_the_program_with_its_output_and_exit_code():
    done = launched(os.getpid(), "/bin/sh", "-c", "echo said; echo told >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "said\n", "told\n")


def test_a_signal_is_the_programs_own():
    assert launched(os.getpid(), "/bin/sh", "-c", "kill -ILL $$").returncode == -4


def test_a_program_that_cannot_be_started_is_one_line(tmp_path):
    done = launched(os.getpid(), str(tmp_path / "none"))
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.endswith("none: cannot be started: No such file or directory\n")


def test_does_not_start_where_the_parent_is_gone():
    done = launched(1, "/bin/echo", "too late")
    assert (done.returncode, done.stdout) == (3, "")
