"""TRAIN and RETRAIN by Ray Train: data-parallel workers, checkpoints, resume."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
from ray.train.backend import BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.queue import Queue

from sigdca.data import find_source
from sigdca.distributed.cluster import SERVERS, Cluster
from sigdca.distributed.horovod_backend import HorovodConfig
from sigdca.errors import JobError, SigdcaError
from sigdca.loop.dataset import dataset_of
from sigdca.loop.executor import OnEpoch, OnStep, TrainOutcome, TrainTask
from sigdca.training import Checkpoint, EpochFigures, Place, load_checkpoint, save_checkpoint

MAX_FAILURES = 3  # a worker or node may be lost this often before the stage gives up

# How the workers of a strategy reach each other, where it is not by torch's process group.
BACKENDS: dict[str, type[BackendConfig]] = {"horovod": HorovodConfig}


def train_on_cluster(
    cluster: Cluster, task: TrainTask, on_epoch: OnEpoch, on_step: OnStep
) -> TrainOutcome:
    """Trains with `task.train.workers` workers; goes on from a checkpoint if there is one.

    Args:
        cluster: where the workers run: on servers, never on boards.
        task: what to train.
        on_epoch: called in this process with each epoch's figures.
        on_step: called in this process every second or so with how far rank 0 is.

    Raises:
        JobError: the cluster has fewer CPUs than the job has workers, or the strategy is not for
            such a network.
        SigdcaError: training failed for good; its checkpoints are kept.
    """
    num_workers, num_cpus = task.train.workers, cluster.num_cpus()
    if num_workers > num_cpus:
        raise JobError(f"train.workers: {num_workers} asked, but the cluster has {num_cpus} CPUs")
    _check_strategy(task)
    dataset = dataset_of(task.source, "train")
    queue = Queue()
    config = {
        "task": replace(task, state={}),
        "state": ray.put(dict(task.state)),
        "dataset": ray.put((dataset.images, dataset.labels)),
        "queue": queue,
    }
    trainer = DataParallelTrainer(
        _worker,
        train_loop_config=config,
        backend_config=BACKENDS.get(task.train.strategy, ray.train.torch.TorchConfig)(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=num_workers,
            use_gpu=cluster.num_gpus() >= num_workers,
            resources_per_worker={"CPU": 1},
            label_selector=SERVERS,
        ),
        run_config=ray.train.RunConfig(
            name=task.key,
            storage_path=task.checkpoints.root,
            storage_filesystem=task.checkpoints.filesystem,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    watcher = threading.Thread(target=_pass_on, args=(queue, on_epoch, on_step), daemon=True)
    watcher.start()
    try:
        with _interruptible():
            result = trainer.fit()
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise SigdcaError(f"training: {_root_cause(error)}") from error
    finally:
        queue.put(None)
        watcher.join()
        queue.shutdown()
    state, epochs = result.return_value
    return TrainOutcome(state, epochs)


def _check_strategy(task: TrainTask) -> None:
    import torch

    from sigdca.distributed.strategies import STRATEGIES
    from sigdca.loop.network import build_for

    with torch.device("meta"):
        model = build_for(task.model, task.source.source)
        sample = torch.zeros(1, *find_source(task.source.source).input_shape)
    STRATEGIES[task.train.strategy].check(model, sample)


def _worker(config: dict[str, Any]) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]] | None:
    """What each worker runs. Rank 0 gives back the trained weights and the figures."""
    import torch

    from sigdca.distributed.strategies import STRATEGIES
    from sigdca.loop.network import state_of
    from sigdca.loop.work import train_share

    context = ray.train.get_context()
    rank = context.get_world_rank()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # one CPU each, and sums in one order on every machine
    images, labels = ray.get(config["dataset"])
    model, figures = train_share(
        config["task"],
        ray.get(config["state"]),
        images,
        labels,
        place=Place(rank, context.get_world_size(), str(ray.train.torch.get_device())),
        strategy=STRATEGIES[config["task"].train.strategy],
        resume=_last_checkpoint(),
        on_epoch=lambda figure, checkpoint: _report(config["queue"], rank, figure, checkpoint()),
        on_step=(lambda figure: config["queue"].put(asdict(figure))) if rank == 0 else None,
    )
    if rank != 0:
        return None
    return state_of(model), tuple(asdict(figure) for figure in figures)


def _last_checkpoint() -> Checkpoint | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return load_checkpoint(folder)


def _report(queue: Queue, rank: int, figures: EpochFigures, checkpoint: Checkpoint) -> None:
    """Tells Ray Train, with a checkpoint from rank 0; all workers must call this."""
    metrics = asdict(figures)
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder, checkpoint)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
    queue.put(metrics)


def _pass_on(queue: Queue, on_epoch: OnEpoch, on_step: OnStep) -> None:
    """Hands figures from the workers to the driver's progress display, until None comes."""
    while (figures := queue.get()) is not None:
        (on_step if "step" in figures else on_epoch)(figures)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: Ray Train's own handler stops the workers, then exits with status 0."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _root_cause(error: BaseException) -> str:
    """The line that says what happened, out of the many that Ray gives."""
    causes = getattr(error, "worker_failures", None) or {}
    for cause in causes.values():
        inner = getattr(cause, "cause", None) or cause
        lines = [line for line in str(inner).splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
