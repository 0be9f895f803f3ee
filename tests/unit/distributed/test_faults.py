"""One line out of what Ray says."""

import pytest

from sigdca.distributed.faults import root_cause


class GroupError(Exception):
    def __init__(self, failures):
        super().__init__("workers failed\nsee above")
        self.worker_failures = failures


class WithCauseError(Exception):
    """As Ray Data's: the cause does not say what it was caused by."""

    cause = RuntimeError("failed\nTo change retry attempts")


WRAPPED = (
    "ray::work()\n  File x, line 1\nsigdca.errors.FormatError: a.parquet: damaged\n\nTo change"
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nlast"), "last"),
        (ValueError(""), "ValueError"),
        (RuntimeError(WRAPPED), "a.parquet: damaged"),
        (GroupError({1: RuntimeError("x\nout of memory\n")}), "out of memory"),
        (GroupError({0: RuntimeError("lost"), 1: RuntimeError(WRAPPED)}), "a.parquet: damaged"),
        (GroupError({0: WithCauseError(WRAPPED)}), "a.parquet: damaged"),
        (GroupError({}), "see above"),
    ],
)
def test_the_line_that_says_what_happened(error, line):
    assert root_cause(error) == line
