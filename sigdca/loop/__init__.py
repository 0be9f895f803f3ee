"""The process flow loop: its stages, their order, and what is remembered of them."""

from sigdca.loop.check import check_job
from sigdca.loop.executor import EdgeTask, Executor, TestTask, TrainOutcome, TrainTask
from sigdca.loop.local import LocalExecutor
from sigdca.loop.retest import Retest, retest_run
from sigdca.loop.run import Candidate, Outcome, run_job
from sigdca.loop.stages import Progress, evaluation_metrics

__all__ = [
    "Candidate",
    "EdgeTask",
    "Executor",
    "LocalExecutor",
    "Outcome",
    "Progress",
    "Retest",
    "TestTask",
    "TrainOutcome",
    "TrainTask",
    "check_job",
    "evaluation_metrics",
    "retest_run",
    "run_job",
]
