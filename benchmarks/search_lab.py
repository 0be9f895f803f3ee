"""A study in a lab of network namespaces, while a server, a board and its driver are lost."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from claims import Claim, at_least, at_most

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/cluster")]

from tests.cluster.disturbed_study import NUM_TRIALS, disturbed_study, make_lab  # noqa: E402
from tests.cluster.lab import why_not  # noqa: E402
from tests.s3 import CREDENTIALS  # noqa: E402


def check_lab() -> None:
    """Ends this program where there can be no lab."""
    if reason := why_not():
        raise SystemExit(f"no lab here: {reason}")


def lab_claims() -> list[Claim]:
    """What is left of the study: nothing is lost or done twice, no bound image is elsewhere."""
    check_lab()
    os.environ |= CREDENTIALS
    with make_lab().running(400) as lab, tempfile.TemporaryDirectory() as name:
        left = disturbed_study(lab, Path(name))
    done = sum(trial["status"] == "done" for trial in left.trials)
    lost, sent = float(sum(left.num_lost.values())), left.sent_bytes.values()
    where = "a server killed, a board cut off, the driver killed"
    counts = {
        f"{where}: trials that did not end": (NUM_TRIALS - done, "trials"),
        f"{where}: trials that were done and are others now": (len(left.changed), "trials"),
        f"{where}: containers that a board has not proven exact": (len(left.unproven), "verdicts"),
        f"{where}: legs beyond one a board and container": (left.num_again, "legs"),
        "images bound to the private site, seen on links elsewhere": (
            sum(left.num_seen.values()),
            "images",
        ),
    }
    return [
        *(at_most(name, [float(count)], 0, unit) for name, (count, unit) in counts.items()),
        at_most("frames on these links that were not looked at", [lost], 0, "frames"),
        at_least("the least that went over one of these links", [min(sent) / 1e6], 0.01, "MB"),
    ]
