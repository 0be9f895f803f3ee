"""TRAIN and TEST in one process; knows nothing of Ray or of compression."""

from sigdca.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sigdca.training.evaluate import TestCounts, evaluate, share_ranges
from sigdca.training.loop import EpochFigures, Hook, OnEpochEnd, OnStep, StepFigures, train_
from sigdca.training.parallel import MakeOptimizer, Parallel, Place, Setting, num_zeros

__all__ = [
    "Checkpoint",
    "EpochFigures",
    "Hook",
    "MakeOptimizer",
    "OnEpochEnd",
    "OnStep",
    "Parallel",
    "Place",
    "Setting",
    "StepFigures",
    "TestCounts",
    "evaluate",
    "load_checkpoint",
    "num_zeros",
    "save_checkpoint",
    "share_ranges",
    "train_",
]
