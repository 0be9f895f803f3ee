"""TRAIN and TEST in one process; knows nothing of Ray or of compression."""

from sigdca.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sigdca.training.evaluate import SHARE_UNIT, TestCounts, add_up, evaluate, share_ranges
from sigdca.training.input import Batch, InMemory, Input
from sigdca.training.loop import EpochFigures, Hook, OnEpochEnd, OnStep, StepFigures, train_
from sigdca.training.parallel import MakeOptimizer, Parallel, Place, Setting, num_zeros

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
    "OnStep",
    "Parallel",
    "Place",
    "Setting",
    "StepFigures",
    "TestCounts",
    "add_up",
    "evaluate",
    "load_checkpoint",
    "num_zeros",
    "save_checkpoint",
    "share_ranges",
    "train_",
]
