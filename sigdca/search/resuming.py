"""Whether a study may go on with a job: its trials must be of the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigdca.errors import JobError
from sigdca.job import Job, parse_job
from sigdca.search.record import StudyRecord
from sigdca.search.space import trial_job

# Of the job that a trial runs: what changes none of its figures.
NOT_OF_TRIALS = {"name", "targets", "edge_test", "budget", "watch", "storage"}

Network = tuple[str, Mapping[str, float]]
"""sha256 of a network's weights, empty where that is not known, and its figures."""


def check_resumed(before: StudyRecord, job: Job, where: str) -> None:
    """Makes sure that a study's trials are of this job.

    Args:
        before: the study, as it stands.
        job: the job that it is to go on with.
        where: the study's file, for messages.

    Raises:
        JobError: they are of another one.
    """
    found = _difference(_of_trials(parse_job(before.job, where)), _of_trials(job))
    if found is not None:
        path, ran, given = found
        raise JobError(
            f"{where}: {path}: its trials ran with {ran}, got {given}; leave out --resume, or "
            "give the job another name"
        )


def check_network(before: Network, now: Network, where: str) -> None:
    """Makes sure that a study's trials have compressed the network that TRAIN comes to now.

    An upgrade may have TRAIN done anew, with its images in another order.

    Args:
        before: as the study has it; figures alone, where an older version wrote them.
        now: as it is now.
        where: the study's file, for messages.

    Raises:
        JobError: it is another one.
    """
    (known, figures), (network, found) = before, now
    if known:
        changed = [("sha256", known[:12], network[:12])] if known != network else []
    else:
        changed = [
            (name, f"{value:g}", f"{found[name]:g}")
            for name, value in figures.items()
            if value != found.get(name, value)
        ]
    if changed:
        name, ran, given = changed[0]
        raise JobError(
            f"{where}: its trials compressed another network: {name} {ran}, now {given}; leave "
            "out --resume, or give the job another name"
        )


def _of_trials(job: Job) -> dict[str, Any]:
    """What determines the figures of all trials; where the images lie does not."""
    document = trial_job(job, job.name, 1.0).model_dump(mode="json", exclude=NOT_OF_TRIALS)
    document["data"].pop("site", None)
    return document


def _difference(ran: Any, given: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first place at which two documents differ, and what is there."""
    if isinstance(ran, list) and isinstance(given, list) and len(ran) == len(given):
        ran, given = dict(enumerate(ran)), dict(enumerate(given))
    if not isinstance(ran, dict) or not isinstance(given, dict):
        return None if ran == given else (path, ran, given)
    for key in ran | given:
        inside = f"{path}.{key}" if path else str(key)
        found = _difference(ran.get(key), given.get(key), inside)
        if found is not None:
            return found
    return None
