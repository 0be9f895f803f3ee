"""What can be wrong with a job beyond its own page, found before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from sigdca.compression import layers_of, per_layer
from sigdca.data import Source, check_split, find_source
from sigdca.edge.legs import Evidence, evidence_ahead
from sigdca.errors import JobError
from sigdca.job import Job, Prune, Quantize, Rdoq, Search, Share
from sigdca.job.budget import bounds_at
from sigdca.loop.dataset import num_images
from sigdca.loop.edge import CALIBRATED
from sigdca.loop.network import graph_of, initial_model
from sigdca.loop.own_model import check_model
from sigdca.models import MODELS
from sigdca.search import corners, grid, job_of, parameters, trial_job
from sigdca.targets import Target, find_emulator, load_target


def check_job(job: Job, where: str) -> None:
    """Builds the network and looks up all that the job names.

    Args:
        job: the job.
        where: the job file, for messages.

    Raises:
        JobError, FormatError, TargetError: an unknown model, data source, layer or target, weights
            of another network, a model that cannot be traced or trained, a recipe whose passes
            undo another, a target that the data is not enough for.
    """
    source = find_source(job.data.source)
    trains = _trains(job)
    for split in ("train", "test") if trains else ("test",):
        check_split(source, split)
    for address in job.data.more:
        _check_more(source, address, where)
    if trains and job.train.batch_size > (count := num_images(job.data, "train")):
        raise JobError(
            f"{where}: train.batch_size: must be at most the {count} images of the train split, "
            f"got {job.train.batch_size}"
        )
    for name in job.targets:
        _check_target(name, source, where)
    for name in (*(job.search.targets if job.search is not None else ()), *job.budget.at):
        load_target(name)
    for name, path in _asked(job).items():
        figure, _, target = name.partition("@")
        if figure == "memory_bytes" and (engine := load_target(target).engine) != "native":
            raise JobError(
                f"{where}: {path}: target '{target}' runs {engine}, of whose memory nothing is "
                "known; only the native engine tells it"
            )
    model = initial_model(job)
    graph = graph_of(job, model)
    if job.model not in MODELS:
        check_model(model, graph, source.num_classes)
    _check_recipe(job, model, where)
    if job.search is not None:
        _check_space(job, job.search, model, where)


def _asked(job: Job) -> dict[str, str]:
    """Where in the job each figure of a target is asked for, by figure@target."""
    objectives = job.search.objectives if job.search is not None else {}
    asked = {name: f"search.objectives.{name}" for name in objectives if "@" in name}
    for name in bounds_at(job.budget, job.targets):
        figure, _, target = name.partition("@")
        asked.setdefault(name, f"budget.at.{target}.{figure}")
    return asked


def _trains(job: Job) -> bool:
    steps = job.compress.recipe if job.compress else ()
    return any(
        getattr(section, "epochs", 0) for section in (job.train, *(s.config for s in steps))
    )


def _check_more(source: Source, address: str, where: str) -> None:
    more = find_source(address)
    if more.input_shape != source.input_shape or more.num_classes > source.num_classes:
        raise JobError(
            f"{where}: data.more: {address} has images {more.input_shape} of {more.num_classes} "
            f"classes, {source.name} has {source.input_shape} of {source.num_classes}"
        )


def _check_target(name: str, source: Source, where: str) -> None:
    """There must be such a target, and training images where its int8 is made on them."""
    if load_target(name).engine != CALIBRATED:
        return
    try:
        check_split(source, "train")
    except JobError as error:
        raise JobError(f"{where}: targets: '{name}' needs training images: {error}") from error


def check_targets(
    job: Job,
    where: str,
    nodes: Mapping[str, Evidence],
    emulator: Callable[[Target], object] = find_emulator,
) -> list[str]:
    """What EDGE TEST will not be able to prove, known before anything is trained.

    Args:
        job: the job.
        where: the job file, for messages.
        nodes: the evidence that the cluster's nodes give, by target; of `data.site` alone.
        emulator: see `sigdca.edge.legs.evidence_ahead`.

    Returns:
        One line for each target of which the report will say `device-required`.

    Raises:
        JobError: a target cannot have the evidence that `edge_test.require` asks for.
    """
    required, site = job.edge_test.require, job.data.site
    lines = []
    for name in job.targets:
        target = load_target(name)
        evidence, why = evidence_ahead(target, nodes.get(name), emulator)
        if required == "device" and evidence == "isa":
            why = f"target '{target.name}': {_no_board(name, site)}"
        elif evidence is not None:
            continue
        elif site is not None:
            why += f" (data.site: only nodes of site {site} count)"
        if required is not None:
            raise JobError(f"{where}: edge_test.require: {required}: {why}")
        lines.append(f"{why}; the report will say device-required")
    return lines


def _no_board(name: str, site: str | None) -> str:
    of, how = "", f"a board joins by: sigdca edge join --target {name}"
    if site is not None:  # one that joins so is of site edge
        of, how = f" of site {site}", f"label one sigdca.io/site={site}, or leave out data.site"
    return f"no board{of} has joined the cluster, and an emulation is not enough; {how}"


def _check_space(job: Job, search: Search, model: nn.Module, where: str) -> None:
    """Each end of each range, and each alternative, must give a job that could run."""
    at = f"{where}: search.space:"
    if any(path == "weights" for _, path, _ in parameters(search.space)):
        raise JobError(
            f"{at} weights: all trials begin with the job's own, which their nodes need not see; "
            "search once for each file"
        )
    for point in corners(search.space):
        trial = trial_job(job_of(job, search.space, point, at), job.name, 1.0)
        same = trial.model == job.model
        _check_recipe(trial, model if same else initial_model(trial), at)
    for name, path in _asked(job).items():
        figure, _, target = name.partition("@")
        if figure in ("energy_mj", "power_mw") and load_target(target).power is None:
            raise JobError(
                f"{where}: {path}: target '{target}' says nothing of its power; use "
                f"{path.replace(figure, 'latency_us')}"
            )
    if search.sampler == "grid":
        grid(search.space, where)


def _check_recipe(job: Job, model: nn.Module, where: str) -> None:
    """The layers that passes name must be there, and no pass may train what is folded already."""
    steps = job.compress.recipe if job.compress else ()
    layers = layers_of(model)
    has_norms = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    folded = ""
    for number, step in enumerate(steps):
        name = f"compress.recipe[{number}].{step.name}"
        at = f"{where.removesuffix(':')}: {name}"
        epochs = getattr(step.config, "epochs", 0)
        if folded and epochs:
            raise JobError(
                f"{at}.epochs: must be 0 behind {folded}, which folds the batch norms, got "
                f"{epochs}; retrain before that, or set its norm_step: null"
            )
        if has_norms and isinstance(step.config, Quantize) and step.config.norm_step is not None:
            folded = name
        if isinstance(step.config, Prune):
            per_layer(step.config.sparsity, layers, f"{at}.sparsity")
        elif isinstance(step.config, Share):
            per_layer(step.config.bits, layers, f"{at}.bits")
        elif isinstance(step.config, Quantize | Rdoq):
            per_layer(step.config.step, layers, f"{at}.step")
