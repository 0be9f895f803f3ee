"""The optimizer that a job names, and its learning rate over a stage's steps."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from sigdca.job.recipe import Optimisation
from sigdca.training.lars import Lars


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: Optimisation
) -> torch.optim.Optimizer:
    """The optimizer that a section of the job names."""
    if config.optimizer == "lars":
        return Lars(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    if config.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: Optimisation, step: int, num_steps: int
) -> None:
    """Grows in a straight line, if asked for; then cosine annealing to zero, or constant.

    Goyal et al. (arXiv 1706.02677), section 2.2; Loshchilov and Hutter (arXiv 1608.03983).
    """
    growing = config.warm_up * num_steps
    if step < growing:
        share = (step + 1) / (growing + 1)
    elif config.schedule_lr == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * (step - growing) / (num_steps - growing)))
    else:
        share = 1.0
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * share
