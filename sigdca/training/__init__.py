"""TRAIN and TEST in one process; knows nothing of Ray or of compression."""

from sigdca.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sigdca.training.evaluate import SHARE_UNIT, TestCounts, add_up, evaluate, share_ranges
from sigdca.training.input import Batch, InMemory, Input
from sigdca.training.loop import (
    EpochFigures,
    Hook,
    OnEpochEnd,
    OnSpeed,
    OnStep,
    StepFigures,
    train_,
)
from sigdca.training.parallel import MakeOptimizer, Parallel, Place, Setting, num_zeros
from sigdca.training.speed import SpeedChoice
from sigdca.training.tensors import Rows, Whole

__all__ = [
    "SHARE_UNIT",
    "Batch",
    "Checkpoint",
    "EpochFigures",
    "Hook",
    "InMemory",
    "Input",
    "MakeOptimizer",
    "OnEpochEnd",
    "OnSpeed",
    "OnStep",
    "Parallel",
    "Place",
    "Rows",
    "Setting",
    "SpeedChoice",
    "StepFigures",
    "TestCounts",
    "Whole",
    "add_up",
    "evaluate",
    "load_checkpoint",
    "num_zeros",
    "save_checkpoint",
    "share_ranges",
    "train_",
]
