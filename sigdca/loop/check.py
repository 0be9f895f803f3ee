"""What can be wrong with a job beyond its own page, found before anything is run."""

from __future__ import annotations

from sigdca.compression import layers_of, per_layer
from sigdca.data import check_split, find_source
from sigdca.job import Job, Prune, Quantize, Rdoq, Share
from sigdca.loop.network import graph_of, initial_model
from sigdca.targets import load_target


def check_job(job: Job, where: str) -> None:
    """Builds the network and looks up all that the job names.

    Args:
        job: the job.
        where: the job file, for messages.

    Raises:
        JobError, FormatError, TargetError: an unknown model, data source, layer or target, weights
            of another network, a model that cannot be traced.
    """
    source = find_source(job.data.source)
    for split in ("train", "test") if job.train.epochs else ("test",):
        check_split(source, split)
    for target in job.targets:
        load_target(target)
    model = initial_model(job)
    graph_of(job, model)
    steps = job.compress.recipe if job.compress else ()
    for number, step in enumerate(steps):
        at = f"{where}: compress.recipe[{number}].{step.name}"
        if isinstance(step.config, Prune):
            per_layer(step.config.sparsity, layers_of(model), f"{at}.sparsity")
        elif isinstance(step.config, Share):
            per_layer(step.config.bits, layers_of(model), f"{at}.bits")
        elif isinstance(step.config, Quantize | Rdoq):
            per_layer(step.config.step, layers_of(model), f"{at}.step")
