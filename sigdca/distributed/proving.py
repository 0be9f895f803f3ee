"""EDGE TEST at the end of a search, which whoever waits for the search may end at any time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from sigdca.distributed.executor import ClusterExecutor
from sigdca.distributed.labels import SITE_LABEL
from sigdca.distributed.sites import here, site_of, slots
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Job
from sigdca.loop import prove_chosen
from sigdca.search import Study

LATER = "`sigdca retest` does it later"


def check_provable(job: Job) -> None:
    """What the job requires of its targets must be possible where the search is started.

    Raises:
        JobError: the test's images may not be read there.
    """
    if job.targets and job.edge_test.require is not None and (why := _not_here(job)):
        raise JobError(
            f"edge_test.require: {job.edge_test.require}: EDGE TEST {why}; start the search there"
        )


def prove_on_cluster(
    executor: ClusterExecutor, study: Study, why: str, tell: Callable[[str], None]
) -> None:
    """See `sigdca.loop.prove_chosen`. Whatever happens here, the study is over, with its result.

    Ctrl-C and SIGTERM end it.

    Args:
        executor: of the cluster that this process is connected to.
        study: the study, whose trials are over.
        why: that is so.
        tell: hears what is tested, and why not.
    """
    if not study.job.targets or study.chosen is None:
        return
    if reason := _not_here(study.job):
        tell(f"EDGE TEST: left out: it {reason}; {LATER}, there")
        return
    if not slots(study.job.data):
        tell(f"EDGE TEST: left out: no server is there; {LATER}")
        return
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if is_main:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prove_chosen(study, executor, tell)
        study.save("done", why)
    except KeyboardInterrupt:
        tell(f"EDGE TEST: interrupted; {LATER}")
    except (SigdcaError, OSError) as error:
        tell(f"EDGE TEST: {error}; {LATER}")
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _not_here(job: Job) -> str:
    """Why this machine may not read the test's images; empty: it may."""
    bound = job.data.site
    if bound is None or site_of({SITE_LABEL: here({}).site}) == bound:
        return ""
    return f"would read images on this machine, which are bound to site {bound}"
