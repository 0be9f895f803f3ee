"""SEARCH on a cluster: a study's trials by Ray Tune, one process a trial, N cores N trials."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.storages import JournalStorage
from ray import tune
from ray.exceptions import RayError
from ray.tune.search import ConcurrencyLimiter
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sigdca.distributed import JOURNAL
from sigdca.distributed.boards import Boards
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.faults import root_cause
from sigdca.distributed.hparams import HparamFiles
from sigdca.distributed.machine import why_unreadable
from sigdca.distributed.scheduling import make_scheduler
from sigdca.distributed.searcher import (
    Journal,
    StudySearch,
    enqueue,
    open_optuna,
    stands_for_the_same,
)
from sigdca.distributed.sensitivity import scan_on_cluster
from sigdca.distributed.sites import (
    ANY,
    avoiding,
    check_gpus,
    check_prices,
    check_servers,
    selector_of,
    servers_of,
    site_of,
    wait_for_servers,
)
from sigdca.distributed.trial import (
    TrialRunner,
    TrialSpec,
    predicted_figures,
    run_dense,
    spec_of,
)
from sigdca.distributed.watcher import MAX_NODE_LOSSES, Over, Watcher
from sigdca.errors import EngineError, SigdcaError
from sigdca.job import DataSource
from sigdca.native.library import library
from sigdca.search import (
    SHARED,
    TOO_LATE,
    Origin,
    Point,
    Space,
    Study,
    StudyRecord,
    check_network,
    grid,
    kinds_of,
    narrowed,
    own_point,
    own_points,
    seeds,
)
from sigdca.storage import Store

First = tuple[Origin, Point]
"""A point that is tried before the sampler draws, and where it is from."""

INTERRUPTED = "interrupted"
POLL_S = 0.5

# Tune's own loggers, checkpoints and signals are of no use here: the study keeps its own record.
_TUNE = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # with less, Tune waits for each process that ends
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def search_on_cluster(
    cluster: Cluster, study: Study, store: Store, tell: Callable[[str], None]
) -> StudyRecord:
    """Runs a study from wherever its files stand, until it is over or interrupted.

    Args:
        cluster: that this process is connected to.
        study: the study; every finished trial is on disk.
        store: its folder, which all servers must see.
        tell: hears what it waits for.

    Returns:
        How it ended.

    Raises:
        SigdcaError: a fault before the first trial, or the cluster is lost. What was done is kept.
    """
    spec = spec_of(study.job, store)
    study.watchers.append(HparamFiles(store))
    with _signals(study):
        shared = store.child(SHARED)
        study.complete(lambda container: predicted_figures(spec.asked, shared.get(container)))
        study.save("running")
        try:
            _wait_for_servers(study, tell)
            _check_nodes(study, spec)
            own, space, first = _prepare(study, spec)
            spec = replace(spec, space=space)
            while run_trials(cluster, study, spec, own, first, tell):
                pass
        except _StoppedError:
            pass
        why = study.why_over() or (TOO_LATE if study.late else "all trials are done")
        for record in study.running():
            study.end(record.number, "stopped", why)
        shared.remove("locks")
        _leave_journal(study, spec)
        study.spending.end()
        return study.save("interrupted" if study.stop == INTERRUPTED else "done", why)


class _StoppedError(Exception):
    """The study is over while something else than a trial is at work."""


@contextlib.contextmanager
def _signals(study: Study) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the study with the best so far; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(_number: int, _frame: Any) -> None:
        study.stop = INTERRUPTED
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _gather(study: Study, tasks: Sequence[Any]) -> list[Any]:
    """The tasks' results; gives up when the study is over."""
    waiting = list(tasks)
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_S)
        if waiting and study.why_over() is not None:
            for task in waiting:
                ray.cancel(task, force=True)
            raise _StoppedError
    try:
        return list(ray.get(list(tasks)))
    except RayError as error:
        if isinstance(cause := getattr(error, "cause", None), SigdcaError):
            raise cause from None
        raise SigdcaError(f"search: {root_cause(error)}") from error


def _wait_for_servers(study: Study, tell: Callable[[str], None]) -> None:
    def check() -> None:
        if study.why_over() is not None:
            raise _StoppedError

    wait_for_servers(study.job.data, 1, tell, study.search.gpus_per_trial, check)


def _check_nodes(study: Study, spec: TrialSpec) -> None:
    """What trials need: servers, prices, GPUs, a folder that all see, images that they read."""
    check_servers(study.job.data)
    check_prices(study.search.prices, study.search.cost)
    check_gpus(study.job.data, study.search.gpus_per_trial)
    for node in ray.nodes():
        site, address = site_of(node["Labels"]), node["NodeManagerAddress"]
        if not node["Alive"] or site == "edge":
            continue
        pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, scheduling_strategy=pinned)(_sees)
        works = spec.job.data.site in (None, site) and node["Resources"].get("CPU", 0) >= 1
        ((sees, unread, lacks),) = _gather(study, [task.remote(spec, works)])
        if not sees:
            raise SigdcaError(
                f"storage: {spec.store.root} is not to be seen on node {address}; give a place "
                "that all servers share"
            )
        if unread:
            raise SigdcaError(
                f"data: not to be read on node {address}: {unread}; mount it there too, or bind "
                "the data to its site by data.site"
            )
        if lacks:
            raise SigdcaError(f"search: memory cannot be told on node {address}: {lacks}")


def _sees(spec: TrialSpec, works: bool) -> tuple[bool, str, str]:
    """Whether this node sees the study, why it cannot read images, why it cannot tell memory.

    The last two only of a node on which trials run, and of memory that is asked for.
    """
    if not works:
        return spec.store.exists("study.json"), "", ""
    lacks = ""
    if any(about.memory for about in spec.asked.values()):
        try:
            library()
        except EngineError as error:
            lacks = str(error)
    return spec.store.exists("study.json"), why_unreadable(spec.job.data), lacks


def _prepare(study: Study, spec: TrialSpec) -> tuple[Point | None, Space, list[First]]:
    """The dense TRAIN, the scan, and what follows: own point, space, points to begin with."""
    where, gpus = servers_of(spec.job.data), study.search.gpus_per_trial
    dense = ray.remote(num_cpus=1, num_gpus=gpus, label_selector=where)(run_dense)
    (figures,) = _gather(study, [dense.remote(spec)])
    weights = figures.pop("artifact")
    if any(record.rungs for record in study.trials()):
        known = study.network, study.baseline
        check_network(known, (weights, figures), study.folder.store.path("study.json"))
    study.network, study.baseline = weights, figures
    study.save("running")
    search, space = study.search, study.search.space
    own = own_point(study.job, space)
    if search.sampler == "grid":
        points = grid(space, study.job.name)
        return own, space, [("sampler", point) for point in points if point != own]
    kinds = kinds_of(space) if search.sensitivity_images else []
    sensitivity = None
    given = own_points(study.job, space)
    if kinds:
        sensitivity = scan_on_cluster(spec, weights, kinds, lambda tasks: _gather(study, tasks))
        space = narrowed(space, sensitivity, given)
    if search.sampler == "random":
        return own, space, []
    written: list[First] = [("job", point) for point in given if point != own]
    return own, space, written + [("seed", point) for point in seeds(space, sensitivity, given)]


def run_trials(
    cluster: Cluster,
    study: Study,
    spec: TrialSpec,
    own: Point | None,
    first: list[First],
    tell: Callable[[str], None],
) -> bool:
    """The trials of a study that is prepared, and what boards are to measure of its trials.

    Args:
        cluster: where they run.
        study: the study; its unfinished trials come first.
        spec: what they have in common.
        own: the job's own point, if the space holds it.
        first: the points to begin with, and where they are from.
        tell: hears what trials wait for.

    Returns:
        Whether to call again: trials are left whose node, or whose site's last server, was lost.
    """
    todo = _todo(study, spec.space, own, first)
    if study.why_over() is not None:
        return False
    num_trials = _num_trials(study, todo)
    boards = Boards(cluster, study.job, spec.store, study.measured, study.refuse)
    try:
        watcher = Watcher(study, boards, tell)
        with tempfile.TemporaryDirectory(
            prefix="sigdca-tune-", ignore_cleanup_errors=True
        ) as folder:
            if num_trials:
                _tune(study, spec, own, todo, num_trials, watcher, folder)
            while not (boards.is_idle() or watcher.is_stuck or study.why_over()):
                time.sleep(POLL_S)
                watcher.on_step_end(0, [])  # Optuna's journal may lie in the folder
        if num_trials == 0 or study.why_over() is not None:
            return False
        # Tune counts one that was lost and drawn again twice.
        return (
            bool(study.running()) or _num_trials(study, _todo(study, spec.space, own, first)) > 0
        )
    finally:
        for record in study.running():
            study.cut_off(record.number)
        boards.close()


def _tune(
    study: Study,
    spec: TrialSpec,
    own: Point | None,
    todo: Mapping[int, First],
    num_trials: int,
    watcher: Watcher,
    folder: str,
) -> None:
    """So many trials by Ray Tune; -1: any number."""
    _quieten()
    optuna_store = _optuna_storage(spec.store, folder)
    open_optuna(study, optuna_store, spec.space)
    _enqueue(study, optuna_store, spec.space, own, todo)
    searcher = StudySearch(study, spec.space, optuna_store, watcher.choose_site, own is not None)
    limiter = ConcurrencyLimiter(searcher, max_concurrent=watcher.most())
    watcher.attach(searcher, limiter)
    os.environ.update(_TUNE)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(TrialRunner, spec=spec),
            partial(_resources, study.job.data, study.search.gpus_per_trial),
        ),
        tune_config=tune.TuneConfig(
            search_alg=limiter,
            scheduler=make_scheduler(study),
            num_samples=num_trials,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            callbacks=[watcher],
            stop=Over(study, watcher),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_NODE_LOSSES),
            verbose=0,
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tuner.fit()
        except (RayError, tune.TuneError) as error:
            raise SigdcaError(f"search: {root_cause(error)}") from error


def _quieten() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("ray.tune", "ray.air", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _todo(
    study: Study, space: Space, own: Point | None, first: Sequence[First]
) -> dict[int, First]:
    """The points to begin with that are still to be tried, by the numbers of their trials.

    Those that no trial has: the space, or what its labels stand for, may be another one than
    before --resume.
    """
    records = study.trials()
    same = (record for record in records if stands_for_the_same(space, record))
    tried = {frozenset(record.point.items()) for record in same}
    left = [(origin, at) for origin, at in first if frozenset(at.items()) not in tried]
    begun = any(record.number == 1 for record in records)
    todo: dict[int, First] = {} if begun else {1: ("job", own or {})}
    return todo | dict(enumerate(left, max(2, study.newest + 1)))


def _num_trials(study: Study, todo: Mapping[int, First]) -> int:
    """How many trials are still to be run; -1: any number."""
    limit, num_unfinished = study.search.num_trials, len(study.unfinished())
    left = math.inf if limit is None else max(0, limit - len(study.trials()) + num_unfinished)
    if study.search.sampler == "grid":
        left = min(left, num_unfinished + len(todo))
    return -1 if left == math.inf else int(left)


def _optuna_storage(store: Store, folder: str) -> JournalStorage:
    """Optuna's own record, which dashboards read; it is made anew from the study's files."""
    place = Path(store.root if store.is_local else folder)
    for old in place.glob(f"{JOURNAL}*"):
        old.unlink()
    return JournalStorage(Journal(str(place / JOURNAL)))


def _leave_journal(study: Study, spec: TrialSpec) -> None:
    """Makes Optuna's record for dashboards, where no trial has run, which would have made it."""
    if not spec.store.is_local:
        return
    journal = Path(spec.store.root, JOURNAL)
    if not journal.exists() or not journal.stat().st_size:  # a dashboard may have made it
        _quieten()
        open_optuna(study, _optuna_storage(spec.store, ""), spec.space)


def _enqueue(
    study: Study,
    storage: JournalStorage,
    space: Space,
    own: Point | None,
    todo: Mapping[int, First],
) -> None:
    """What is run before the sampler draws: trials cut off, the job's own recipe, the seeds."""
    made = optuna.load_study(study_name=study.job.name, storage=storage)
    for record in study.unfinished():
        point = own or {} if record.number == 1 else record.point
        enqueue(made, record, point, space)
    for number, (origin, point) in todo.items():
        made.enqueue_trial(point, user_attrs={"number": number, "origin": origin})


def _resources(
    source: DataSource, gpus: float, config: dict[str, Any]
) -> tune.PlacementGroupFactory:
    bundle = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    site = config["site"]
    where = servers_of(source) if site == ANY else selector_of(site)
    where |= avoiding(config["shunned"])
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[where])
