"""TRAIN and TEST in one process; knows nothing of Ray or of compression."""

from sigdca.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sigdca.training.evaluate import TestCounts, share_ranges, evaluate
from sigdca.training.loop import EpochFigures, Hook, Place, train_

__all__ = [
    "Checkpoint",
    "EpochFigures",
    "Hook",
    "Place",
    "TestCounts",
    "share_ranges",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
    "train_",
]
