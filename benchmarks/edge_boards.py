"""Two emulated boards as nodes of a cluster, each on a host of its own, and what loses them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from claims import Claim, at_least, at_most

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/cluster")]

from tests.cluster.boards import BOARDS, FAULTS, MOMENTS, BoardsLab, Ran  # noqa: E402
from tests.cluster.lab import why_not  # noqa: E402

ENDS_S = 120.0
QUICK = (MOMENTS[1], MOMENTS[3])


def boards_claims(quick: bool, against: str) -> list[Claim]:
    """The loop without a loss, and with one at each of several moments."""
    if reason := why_not():
        raise SystemExit(f"no lab here: {reason}")
    lab = BoardsLab()
    try:
        lab.start()
        lab.wait_for_nodes(400)
        with tempfile.TemporaryDirectory() as name:
            return _claims(lab, Path(name), QUICK if quick else MOMENTS, against)
    finally:
        lab.stop()


def _claims(lab: BoardsLab, folder: Path, moments: Sequence[str], against: str) -> list[Claim]:
    (folder / "whole").mkdir()
    whole = lab.run(folder / "whole")
    wrong, unproven, seconds = [], [], []
    for number, (moment, fault) in enumerate((m, f) for m in moments for f in FAULTS):
        host = list(BOARDS)[(FAULTS.index(fault) + MOMENTS.index(moment)) % 2]
        place = folder / str(number)
        place.mkdir()
        ran = lab.lose_at(moment, fault, host, place, whole)
        said = lab.wrong(ran, whole, host, moment)
        lab.bring_back(host, fault)
        after = lab.wrong(lab.run(place, "--resume"), whole)
        wrong.append(said)
        unproven.append(after)
        if moment == MOMENTS[3]:
            seconds.append(ran.seconds)
        told = "; ".join([*said, *after]) or "as it should be"
        print(f"{BOARDS[host]} {fault}, {moment}: {told}", file=sys.stderr, flush=True)
    named = "a board killed, frozen, cut off: runs that lost more, or did not name it"
    resumed = "resumed with the board back: runs whose verdicts were not exact"
    counted = [
        at_most(name, [float(sum(map(bool, found)))], 0, "runs", against)
        for name, found in ((named, wrong), (resumed, unproven))
    ]
    return [
        at_least(
            "two boards on hosts of their own: exact (isa) by hash",
            [float(_num_exact(lab, whole))],
            2,
            "targets",
            against,
        ),
        *(replace(claim, n=len(wrong)) for claim in counted),
        at_most("from the loss in its leg to the run's end", seconds, ENDS_S, "s", against),
    ]


def _num_exact(lab: BoardsLab, whole: Ran) -> int:
    return sum(
        leg["verdict"] == "exact"
        and leg["logits_sha256"] == leg["reference_logits_sha256"]
        and leg["node"] == lab.address_of(host)
        for host, target in BOARDS.items()
        for leg in [whole.legs[target]]
    )
