"""What a job needs beside its own page: the files that a cluster must be sent with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sigdca.data import is_address
from sigdca.errors import JobError
from sigdca.job import Job, dump_job
from sigdca.storage import write_file
from sigdca.targets.calibration import calibration_path

MAX_BUNDLE_BYTES = 100 * 2**20  # what a Ray head takes; it answers HTTP 413 to more
# Ray leaves out what a .gitignore or .rayignore names, wherever that lies: it does not come along.
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".gitignore", ".rayignore")


def bundle_job(job: Job, folder: Path) -> str:
    """Puts a job and the files that it names by a relative path into an empty folder.

    That is the resolved job file, its `weights`, the package of a `pkg.module:Class` model that
    lies in the current folder, data sets, and target files of the user's own that targets,
    objectives or the budget name, with their calibrations.
    What is named by an absolute path or an address must be seen by the cluster itself.

    Args:
        job: the job, with all overrides in it.
        folder: becomes the working directory of the job on the cluster.

    Returns:
        The name of the job file in `folder`.

    Raises:
        JobError: a file is missing, lies above the current folder, or all of them are too large.
    """
    needed, name = _needed(job), f"{job.name}.yaml"
    sizes = {str(path): path.stat().st_size for each in needed for path in _files(each)}
    total = sum(sizes.values())
    if total > MAX_BUNDLE_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise JobError(
            f"{name}: the files to send are {total / 2**20:.0f} MiB ({largest}: "
            f"{sizes[largest] / 2**20:.0f} MiB), at most {MAX_BUNDLE_BYTES // 2**20}; put them "
            "where all nodes see them, such as /nfs or s3://, and name that place"
        )
    for each in needed:
        _copy(each, folder)
    write_file(folder / name, dump_job(job).encode())
    return name


def check_watch(job: Job) -> None:
    """Makes sure that all that `run --watch` works with will be found on the cluster.

    Raises:
        JobError: a place is named by a relative path, which there is another one; a private key
            is never sent.
    """
    if job.watch is None:
        raise JobError(f"{job.name}: has no section 'watch': say at least where its data come")
    for name in ("data", "releases", "key"):
        place = getattr(job.watch, name)
        if place is not None and "://" not in place and not Path(place).is_absolute():
            raise JobError(
                f"{job.name}: watch.{name}: {place}: must be an address, or an absolute path on "
                "the cluster's head"
            )


def _needed(job: Job) -> list[str]:
    """Relative paths of the files and folders to send."""
    searched = job.search.targets if job.search is not None else ()
    targets = dict.fromkeys((*job.targets, *searched, *job.budget.at))
    needed = [name for name in targets if name.endswith(".toml")]
    calibrations = [calibration_path(name) for name in needed]
    needed += [str(path) for path in calibrations if path is not None]
    if job.weights is not None:
        needed.append(job.weights)
    needed += [name for name in (job.data.source, *job.data.more) if is_address(name)]
    if ":" in job.model:
        top = job.model.partition(":")[0].partition(".")[0]
        needed += [name for name in (top, f"{top}.py") if Path(name).exists()]
    elif "/" in job.model or Path(job.model).is_file():
        needed.append(job.model)
    return [name for name in needed if "://" not in name and not Path(name).is_absolute()]


def _files(name: str) -> list[Path]:
    """Those that a name stands for, before any is copied."""
    path = Path(os.path.normpath(name))
    if path.parts[:1] == ("..",):
        raise JobError(
            f"{name}: lies outside the current folder ({Path.cwd()}); use an absolute path"
        )
    if not path.exists():
        raise JobError(f"{name}: cannot be read: No such file or directory")
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, files in os.walk(path, followlinks=True):
        ignored = _IGNORED(folder, [*folders, *files])
        folders[:] = [each for each in folders if each not in ignored]
        found += [Path(folder, each) for each in files if each not in ignored]
    return [each for each in found if each.is_file()]


def _copy(name: str, folder: Path) -> None:
    """By the name that the job has for it, a link or not."""
    source = Path(os.path.normpath(name))
    to = folder / source
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, ignore=_IGNORED, dirs_exist_ok=True)
        else:
            shutil.copy2(source, to)
    except OSError as error:
        raise JobError(f"{name}: cannot be read: {error.strerror or error}") from error
