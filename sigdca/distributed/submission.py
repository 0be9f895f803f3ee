"""Jobs on a cluster that is elsewhere: Ray's Jobs API, with errors that fit on one line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.job_submission import JobDetails, JobSubmissionClient
from ray.util.state import list_nodes

from sigdca.distributed.labels import EMULATED_LABEL, TARGET_LABEL, TEMPORARY_LABEL
from sigdca.distributed.preflight import check_answers
from sigdca.distributed.sites import site_of
from sigdca.edge.legs import Evidence
from sigdca.errors import JobError, SigdcaError
from sigdca.targets import Target

DASHBOARD_PORT = 8265
POLL_S = 1.0
NODES_TIMEOUT_S = 5
NOT_FOUND = 127  # what a shell exits with where a command is not installed
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class Submission:
    """A job on a cluster.

    Attributes:
        id: what `status`, `logs` and `stop` take.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        message: what Ray says of the status.
        exit_code: what the job's own command exited with; None: it has not ended by itself.
        entrypoint: the command that runs there.
        started_ms: when it was submitted, milliseconds since 1970.
        ended_ms: when it ended; None: it has not.
    """

    id: str
    status: str
    message: str
    exit_code: int | None
    entrypoint: str
    started_ms: int | None
    ended_ms: int | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status in ENDED


class Head:
    """The head of a cluster, through its dashboard's port."""

    def __init__(self, address: str | None) -> None:
        """Connects.

        Args:
            address: the dashboard's, `http://head:8265`; None takes RAY_API_SERVER_ADDRESS or
                RAY_ADDRESS.

        Raises:
            JobError: no address, or one that is not a dashboard's.
            SigdcaError: nothing answers there, the token is refused, or it runs another Ray.
        """
        self.address = _dashboard(address)
        parts = urlsplit(self.address)
        check_answers(str(parts.hostname), parts.port or 80, f"cluster {self.address}")
        logging.getLogger("ray").setLevel(logging.ERROR)
        for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):  # they would win over the address
            os.environ.pop(name, None)
        with self._explained():
            self._client = JobSubmissionClient(self.address)
            theirs = self._client._server_ray_version
        if theirs is not None and theirs != ray.__version__:
            raise SigdcaError(
                f"cluster {self.address}: it runs Ray {theirs}, this machine Ray "
                f"{ray.__version__}; install ray=={theirs} here, or {ray.__version__} there"
            )

    def submit(self, command: Sequence[str], folder: Path, name: str) -> Submission:
        """Starts a command on the head, in a copy of `folder`. Nodes fetch nothing else.

        Args:
            command: its words.
            folder: at most 100 MiB.
            name: the first part of the submission's id.
        """
        with self._explained():
            submitted = self._client.submit_job(
                entrypoint=shlex.join(command),
                submission_id=f"{name}-{secrets.token_hex(4)}",
                runtime_env={"working_dir": str(folder)},
            )
        return self.submission(submitted)

    def submission(self, name: str) -> Submission:
        """How a submission stands."""
        with self._explained(name):
            return _submission(self._client.get_job_info(name))

    def submissions(self) -> list[Submission]:
        """All that the head remembers, oldest first."""
        with self._explained():
            details = [found for found in self._client.list_jobs() if found.submission_id]
        return sorted(map(_submission, details), key=lambda found: found.started_ms or 0)

    def wait(self, name: str) -> Submission:
        """Waits until a submission has ended."""
        while not (found := self.submission(name)).has_ended:
            time.sleep(POLL_S)
        return found

    def logs(self, name: str) -> str:
        """What a submission has printed so far."""
        with self._explained(name):
            return str(self._client.get_job_logs(name))

    def follow(self, name: str) -> Iterator[str]:
        """What a submission prints, until it has ended."""
        chunks = self._client.tail_job_logs(name)
        loop = asyncio.new_event_loop()
        try:
            while True:
                try:
                    with self._explained(name):
                        chunk = str(loop.run_until_complete(anext(chunks)))
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            for waiting in asyncio.all_tasks(loop):  # Ctrl-C, while there was nothing to tell
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(waiting)
            loop.run_until_complete(chunks.aclose())
            loop.close()

    def stop(self, name: str) -> Submission:
        """Ends a submission, and waits until it has ended. Its run can be resumed."""
        with self._explained(name):
            self._client.stop_job(name)
        return self.wait(name)

    def evidence_of(
        self, targets: Mapping[str, Target], site: str | None = None
    ) -> dict[str, Evidence]:
        """What living nodes' legs would prove of targets; one that no node stands for is absent.

        Nodes that runs have started for themselves end with them, and do not count.

        Args:
            targets: by the names that the answer is to have.
            site: where the images must stay: nodes of another do not count.
        """
        with self._explained():
            nodes = list_nodes(
                address=self.address,
                limit=10_000,
                timeout=NODES_TIMEOUT_S,
                raise_on_missing_output=False,
            )
        alive = [dict(node.labels or {}) for node in nodes if node.state == "ALIVE"]
        lasting = [found for found in alive if TEMPORARY_LABEL not in found]
        labels = [found for found in lasting if site in (None, site_of(found))]
        boards = {found[TARGET_LABEL] for found in labels if _is_board(found)}
        emulated = {found.get(TARGET_LABEL) for found in labels if not _is_board(found)}
        found: dict[str, Evidence] = {}
        for name, target in targets.items():
            if target.label in boards:
                found[name] = "device"
            elif target.name in emulated:
                found[name] = "isa"
        return found

    @contextlib.contextmanager
    def _explained(self, name: str | None = None) -> Iterator[None]:
        try:
            yield
        except (SigdcaError, StopAsyncIteration):
            raise
        except Exception as error:  # Ray raises RuntimeError, ConnectionError and many others
            text = " ".join(str(error).split()) or type(error).__name__
            raise _explanation(f"cluster {self.address}", text, name) from error


def _explanation(where: str, text: str, name: str | None) -> SigdcaError:
    if "Authentication required" in text or "no token was found" in text.lower():
        return SigdcaError(
            f"{where}: wants a token and was given none; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH=FILE"
        )
    if "Authentication failed" in text:
        return SigdcaError(
            f"{where}: refused the token; RAY_AUTH_TOKEN_PATH must name a copy of the head's"
        )
    if "Version check returned 404" in text:
        return JobError(f"{where}: is not the dashboard of a Ray cluster")
    if name is not None and ("404" in text or "does not exist" in text):
        return JobError(
            f"{where}: knows no submission '{name}'; `sigdca submitted list` lists all"
        )
    return SigdcaError(f"{where}: {text[:300]}")


def _is_board(labels: dict[str, str]) -> bool:
    return TARGET_LABEL in labels and labels.get(EMULATED_LABEL) != "true"


def _dashboard(address: str | None) -> str:
    given = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not given:
        raise JobError(
            f"--address: is missing; the dashboard's address, such as http://head:{DASHBOARD_PORT}"
        )
    url = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise JobError(f"--address {given}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or given == "auto":
        raise JobError(
            f"--address {given}: must be the dashboard's, such as http://head:{DASHBOARD_PORT}"
        )
    if port is None:
        usual = 443 if parts.scheme == "https" else DASHBOARD_PORT
        url = f"{parts.scheme}://{parts.hostname}:{usual}"
    return url.rstrip("/")


def _submission(details: JobDetails) -> Submission:
    message = str(details.message or "")
    if details.driver_exit_code == NOT_FOUND:
        message = "sigdca is not installed on the head (or not in the PATH of its Ray)"
    fields: dict[str, Any] = {
        "id": details.submission_id,
        "status": str(getattr(details.status, "value", details.status)),
        "message": " ".join(message.split())[:300],
        "exit_code": details.driver_exit_code,
        "entrypoint": details.entrypoint,
        "started_ms": details.start_time,
        "ended_ms": details.end_time,
    }
    return Submission(**fields)
