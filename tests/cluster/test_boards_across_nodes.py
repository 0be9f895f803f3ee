"""The loop with two boards on hosts of their own: killed, frozen or cut off at every stage."""

import pytest

from tests.cluster.boards import BOARDS, FAULTS, MOMENTS, BoardsLab
from tests.cluster.lab import why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.fixture(scope="module")
def lab():
    made = BoardsLab()
    try:
        made.start()
        made.wait_for_nodes(400)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def whole(lab, tmp_path_factory):
    """A run that loses nothing."""
    return lab.run(tmp_path_factory.mktemp("whole"))


def test_both_boards_prove_the_container_bit_by_bit(lab, whole):
    assert lab.wrong(whole, whole) == []
    for host, target in BOARDS.items():
        leg = whole.legs[target]
        assert leg["node"] == lab.address_of(host), "its own node ran it, and no emulation here"
        assert (leg["verdict"], leg["evidence"], leg["num_samples"]) == ("exact", "isa", 2000)
        assert leg["logits_sha256"] == leg["reference_logits_sha256"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_board_is_named_and_its_verdict_comes_when_it_is_back(
    lab, whole, fault, moment, tmp_path
):
    # Each board meets every fault and every moment.
    host = list(BOARDS)[(FAULTS.index(fault) + MOMENTS.index(moment)) % 2]
    try:
        ran = lab.lose_at(moment, fault, host, tmp_path, whole)
    finally:
        lab.bring_back(host, fault)
    assert lab.wrong(ran, whole, host, moment) == []
    num_trained = [record["stage"] for record in ran.records].count("retrain")
    resumed = lab.run(tmp_path, "--resume")
    assert lab.wrong(resumed, whole) == []
    assert [r["stage"] for r in resumed.records].count("retrain") == num_trained == 2
