"""The process flow loop: its stages, their order, and what is remembered of them."""

from sigdca.loop.check import check_job, check_targets
from sigdca.loop.edge import NoiseTask, noise_task
from sigdca.loop.executor import (
    EdgeTask,
    Executor,
    Observer,
    TestTask,
    TrainOutcome,
    TrainTask,
    Unobserved,
)
from sigdca.loop.local import LocalExecutor
from sigdca.loop.points import Progress
from sigdca.loop.retest import Retest, retest_run
from sigdca.loop.run import Candidate, Outcome, run_job
from sigdca.loop.stages import evaluation_metrics

__all__ = [
    "Candidate",
    "EdgeTask",
    "Executor",
    "LocalExecutor",
    "NoiseTask",
    "Observer",
    "Outcome",
    "Progress",
    "Retest",
    "TestTask",
    "TrainOutcome",
    "TrainTask",
    "Unobserved",
    "check_job",
    "check_targets",
    "evaluation_metrics",
    "noise_task",
    "retest_run",
    "run_job",
]
