"""A study that loses a server, a board and its driver ends, with nothing lost or done twice."""

import pytest

from tests.cluster.disturbed_study import (
    ELSEWHERE,
    NUM_TRIALS,
    disturbed_study,
    make_lab,
)
from tests.cluster.lab import why_not
from tests.s3 import CREDENTIALS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with make_lab().running(400) as lab:
            yield disturbed_study(lab, tmp_path_factory.mktemp("study"))


def test_it_ends_with_all_its_trials(left):
    assert left.faults == ["server killed", "board cut off", "driver killed"]
    assert left.outcome["num_trials"] == {"done": NUM_TRIALS}
    assert [trial["number"] for trial in left.trials] == list(range(1, NUM_TRIALS + 1))


def test_nothing_is_lost_and_nothing_measured_twice(left):
    assert left.changed == []
    assert left.unproven == []
    assert left.num_again == 0


def test_no_private_image_reaches_the_public_server_or_a_board(left):
    assert {trial["site"] for trial in left.trials} == {"private"}
    assert left.num_lost == dict.fromkeys(ELSEWHERE, 0)
    assert min(left.sent_bytes.values()) > 1000, "Ray talks to every node"
    assert left.num_seen == dict.fromkeys(ELSEWHERE, 0)
