"""The `sigdca` command. Ray and torch are imported inside the verbs that need them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from sigdca.cli import (
    containers,
    data,
    edge,
    jobs,
    lists,
    retesting,
    search,
    signing,
    submitting,
    testing,
)
from sigdca.errors import JobError, SigdcaError, extra_of

INTERRUPTED = 130  # what typer makes of Ctrl-C
RESUMABLE = ("run", "train", "compress", "search")  # Ctrl-C stops their work; --resume goes on

app = typer.Typer(
    name="sigdca",
    help="Compress trained CNNs, prove them on embedded targets, and run the loop on Ray.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (jobs, search, testing, containers, data, lists, signing, submitting, retesting, edge)
for _verbs in VERBS:
    _verbs.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command; exits with 0 done, 1 not what was asked, 2 bad input, 3 a fault."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(given or ["--help"])
    except SigdcaError as error:
        _say(str(error))
        code = error.exit_code
    except TyperException as error:
        _say(error.format_message() if hasattr(error, "format_message") else str(error))
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception:  # a fault of sigdca's own: 1 would say that a budget was not met
        traceback.print_exc()
        code = SigdcaError.exit_code
    if code == INTERRUPTED:
        on = "; the same command with --resume goes on from here"
        _say(f"interrupted{on if _verb(given) in RESUMABLE else ''}")
        code = SigdcaError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _run(given: Sequence[str]) -> Any:
    """The verb's exit code.

    Raises:
        JobError: the verb needs a library that one of the extras would have installed.
    """
    command = typer.main.get_command(app)
    try:
        return command.main(given, prog_name="sigdca", standalone_mode=False)
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        raise JobError(
            f"{_verb(given)}: {error.name} is not installed; pip install 'sigdca[{extra}]'"
        ) from error


def _verb(given: Sequence[str]) -> str:
    """The words that name the verb, `edge test` of `edge test model.dca`."""
    words: list[str] = []
    command: Any = typer.main.get_command(app)
    for word in given:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return " ".join(words)


def _say(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    sys.stderr.write(f"sigdca: {' '.join(message.split())}\n")
