"""Every error that sigdca raises on purpose: one line for a person, an exit code for a script."""

from __future__ import annotations

import re


class SigdcaError(Exception):
    """A fault on the way: a worker lost, a disk full. The run can be resumed.

    Attributes:
        exit_code: what the `sigdca` command exits with.
    """

    exit_code = 3


class DivergedError(SigdcaError):
    """The loss is no longer finite; training again from the same state would come to the same."""


class JobError(SigdcaError):
    """The job file, or what it names (a model, a layer, a data source), is wrong."""

    exit_code = 2


class FormatError(SigdcaError):
    """A file from outside (a container, a `.caffemodel`) does not hold what it must."""

    exit_code = 2


class TargetError(SigdcaError):
    """A target is unknown, or can be neither reached nor emulated."""

    exit_code = 2


class EngineError(SigdcaError):
    """An engine is missing, or refused a model."""


class StorageError(SigdcaError):
    """Data could not be fetched, read, written or verified."""


def extra_of(module: str) -> str | None:
    """The extra that installs a library, `cluster` of `sigdca[cluster]`; None: no extra does.

    Args:
        module: the library's name in an import.
    """
    from importlib.metadata import PackageNotFoundError, requires  # not in a board's `edge infer`

    try:
        needs = requires("sigdca") or ()
    except PackageNotFoundError:  # run from its sources
        return None
    found = (re.match(r"""([\w.-]+).*\bextra == ["']([\w-]+)""", need) for need in needs)
    return next((need[2] for need in found if need and need[1] == module.replace("_", "-")), None)
