"""What a run's end means for a script, and what is said of it."""

import pytest

from sigdca.cli.jobs import _exit_code
from sigdca.job import parse_job
from sigdca.job.budget import BudgetLine
from sigdca.loop import Candidate, Outcome
from sigdca.storage import Record

JOB = "name: j\nmodel: lenet-5\ndata: {source: mnist}\ntrain: {}\n"
TEST = Record(number=1, key="k", stage="test", iteration=1, duration_s=0, seed=0)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (False, "the budget was not met\n"),
        (True, "the budget was not met; the best so far is in j/model.dca\n"),
    ],
)
def test_a_missed_budget_names_the_container_that_there_is(best, said, capsys):
    lines = [BudgetLine("error", 1.0, 2.0, False)]
    container = Candidate(1, "", {}, lines) if best else None
    outcome = Outcome("", TEST, container, [], lines=() if best else lines)
    assert _exit_code(parse_job(JOB, "j.yaml"), outcome) == 1
    assert capsys.readouterr().err == said
