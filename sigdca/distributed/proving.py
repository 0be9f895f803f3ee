"""EDGE TEST at the end of a search, which whoever waits for the search may end at any time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from sigdca.distributed.executor import ClusterExecutor
from sigdca.distributed.sites import here, slots
from sigdca.loop import prove_chosen
from sigdca.search import Study

LATER = "`sigdca retest` does it later"


def prove_on_cluster(executor: ClusterExecutor, study: Study, tell: Callable[[str], None]) -> None:
    """See `sigdca.loop.prove_chosen`; Ctrl-C and SIGTERM end it, and the study is what it was.

    Args:
        executor: of the cluster that this process is connected to.
        study: the study, whose trials are over.
        tell: hears what is tested, and why not.
    """
    bound = study.job.data.site
    if not study.job.targets or study.chosen is None:
        return
    if bound is not None and here({}).site != bound:
        why = f"it would read images on this machine, which are bound to site {bound}"
        tell(f"EDGE TEST: left out: {why}; {LATER}, there")
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
    except KeyboardInterrupt:
        tell(f"EDGE TEST: interrupted; {LATER}")
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
