"""The process flow loop: its stages, their order, and what is remembered of them."""

from sigdca.loop.check import check_job, check_targets
from sigdca.loop.cycles import CycleEnd
from sigdca.loop.edge import NoiseTask, legs_of, noise_task
from sigdca.loop.executor import (
    EdgeTask,
    EdgeTrainTask,
    Executor,
    Observer,
    TestTask,
    TrainOutcome,
    TrainTask,
    Unobserved,
)
from sigdca.loop.local import LocalExecutor
from sigdca.loop.points import Progress
from sigdca.loop.proof import forget_stale_proofs, prove_chosen, unproven
from sigdca.loop.retest import Retest, retest_run
from sigdca.loop.run import WEIGHTS, Candidate, Outcome, run_job
from sigdca.loop.stages import evaluation_metrics
from sigdca.loop.watch import Surroundings, check_watched, watch_job

__all__ = [
    "WEIGHTS",
    "Candidate",
    "CycleEnd",
    "EdgeTask",
    "EdgeTrainTask",
    "Executor",
    "LocalExecutor",
    "NoiseTask",
    "Observer",
    "Outcome",
    "Progress",
    "Retest",
    "Surroundings",
    "TestTask",
    "TrainOutcome",
    "TrainTask",
    "Unobserved",
    "check_job",
    "check_targets",
    "check_watched",
    "evaluation_metrics",
    "forget_stale_proofs",
    "legs_of",
    "noise_task",
    "prove_chosen",
    "retest_run",
    "run_job",
    "unproven",
    "watch_job",
]
