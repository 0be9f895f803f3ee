"""TRAIN and RETRAIN by Ray Train: data-parallel workers, checkpoints, resume."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
import ray.data
import ray.exceptions
import ray.train
import ray.train.torch
from pyarrow.fs import LocalFileSystem
from ray.train.backend import BackendConfig
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from sigdca.data import absolute, find_source, open_imported
from sigdca.distributed.cluster import Cluster
from sigdca.distributed.elastic import ServersAlone
from sigdca.distributed.faults import root_cause
from sigdca.distributed.horovod_backend import HorovodConfig
from sigdca.distributed.metrics import Metered
from sigdca.distributed.news import FromController, News, Unplaced, listening
from sigdca.distributed.preemption import Preemptions
from sigdca.distributed.seeing import check_seen
from sigdca.distributed.sites import (
    has_lost_servers,
    may_grow,
    servers_of,
    wait_for_servers,
)
from sigdca.distributed.snapshot import mend_record
from sigdca.distributed.streaming import NAME, Stream, in_order, open_stream
from sigdca.errors import DivergedError, JobError, SigdcaError, StorageError
from sigdca.job import DataSource, Train
from sigdca.loop.dataset import dataset_of, is_streamed, placed
from sigdca.loop.executor import Observer, TrainOutcome, TrainTask
from sigdca.training import (
    Checkpoint,
    EpochFigures,
    InMemory,
    Input,
    Place,
    Rows,
    Whole,
    load_checkpoint,
    save_checkpoint,
)

READERS_PER_WORKER = 4  # of a stream, at the most; no more in all than there are CPUs
MAX_FAILURES = 3  # a worker or node may be lost this often before the stage gives up

# How the workers of a strategy reach each other, where it is not by torch's process group.
BACKENDS: dict[str, type[BackendConfig]] = {"horovod": HorovodConfig}


def train_on_cluster(cluster: Cluster, task: TrainTask, observer: Observer) -> TrainOutcome:
    """Trains with `task.train.workers` workers; goes on from a checkpoint if there is one.

    On a cluster that was there before, it waits where servers have left or may still come.

    Args:
        cluster: where the workers run: on servers, never on boards.
        task: what to train.
        observer: hears, in this process, of each epoch, of rank 0's steps, of workers that were
            lost, and of training that goes on.

    Raises:
        JobError: the servers have fewer CPUs than the job has workers, and none may come; or the
            strategy is not for such a network.
        DivergedError: the loss is no longer finite.
        SigdcaError: training failed for good, and its checkpoints are kept; or a server does not
            see where they are to lie.
    """
    _check_workers(task, cluster)
    _check_strategy(task)
    wait_for_servers(task.source, _fewest(task.train), observer.note)
    check_seen(task.checkpoints, task.source)
    config = {
        "task": replace(task, state={}, source=placed(task.source)),
        "state": ray.put(dict(task.state)),
    }
    if (unused := unused_gpus(task.train, cluster.num_gpus(task.source))) is not None:
        observer.note(unused)
    if (mended := mend_record(task.checkpoints, task.key)) is not None:
        observer.note(mended)
    given = _input(task, cluster.num_cpus(task.source))
    with listening(Metered(observer, task)) as news:
        trainer = _trainer(cluster, task, config | given.config | {"news": news}, given.datasets)
        try:
            with _interruptible():
                result = trainer.fit()
        except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
            raise SigdcaError(f"training: {root_cause(error)}") from error
    if isinstance(result.return_value, DivergedError):
        raise DivergedError(f"training: {result.return_value}")
    state, epochs = result.return_value
    return TrainOutcome(state, epochs)


class _Trainer(DataParallelTrainer):  # type: ignore[misc]  # Ray's classes are not typed here
    """Ray's, for servers that may work on the data and for data sets that there are."""

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """Workers who may come and go are counted by `ServersAlone`."""
        if self.scaling_config.elasticity_enabled:
            source = self.train_loop_config["task"].source
            settings["scaling_policy"] = ServersAlone(self.scaling_config, source)
        return super()._initialize_and_run_controller(**settings)

    def _create_default_callbacks(self) -> list[Any]:
        """Without the manager of data sets where there are none: it would take a stage seconds."""
        callbacks: list[Any] = super()._create_default_callbacks()
        if self.datasets:
            return callbacks
        return [one for one in callbacks if not isinstance(one, DatasetsCallback)]


def _trainer(
    cluster: Cluster,
    task: TrainTask,
    config: dict[str, Any],
    datasets: dict[str, ray.data.Dataset],
) -> DataParallelTrainer:
    return _Trainer(
        _worker,
        train_loop_config=config,
        datasets=datasets,
        dataset_config=in_order(),
        backend_config=BACKENDS.get(task.train.strategy, ray.train.torch.TorchConfig)(),
        scaling_config=scaling(task.train, task.source, cluster.num_gpus(task.source)),
        run_config=ray.train.RunConfig(
            name=task.key,
            storage_path=task.checkpoints.root,
            storage_filesystem=task.checkpoints.filesystem,
            # The last but one is for the case that the last is damaged.
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[FromController(config["news"]), Unplaced(config["news"])],
        ),
    )


def scaling(train: Train, source: DataSource, num_gpus: int) -> ray.train.ScalingConfig:
    """Workers where the data may go, a GPU each where there are enough for the fewest of them."""
    least, most = _fewest(train), train.workers
    return ray.train.ScalingConfig(
        num_workers=most if least == most else (least, most),
        use_gpu=num_gpus >= least,
        resources_per_worker={"CPU": 1},
        label_selector=servers_of(source),
    )


def _fewest(train: Train) -> int:
    """With how many workers training may go on."""
    return train.workers_at_least or train.workers


def unused_gpus(train: Train, num_gpus: int) -> str | None:
    """What to say where there are GPUs, but too few for `scaling` to take them; else None."""
    least = _fewest(train)
    if not 0 < num_gpus < least:
        return None
    name = "workers_at_least" if train.workers_at_least else "workers"
    have = "1 GPU" if num_gpus == 1 else f"{num_gpus} GPUs"
    return (
        f"training on CPUs: the cluster has {have} for {least} workers; "
        f"train.{name}={num_gpus} would use {'it' if num_gpus == 1 else 'them'}"
    )


def _check_workers(task: TrainTask, cluster: Cluster) -> None:
    num_cpus, site, needed = cluster.num_cpus(task.source), task.source.site, _fewest(task.train)
    may_come = not cluster.is_ours and (may_grow() or has_lost_servers(task.source))
    if 0 < num_cpus < needed and not may_come:
        name = "workers_at_least" if task.train.workers_at_least else "workers"
        where = "the cluster has" if site is None else f"data.site is {site}, which has"
        raise JobError(f"train.{name}: {needed} asked, but {where} {num_cpus} CPUs")


@dataclass(frozen=True)
class _Given:
    """How the images come to the workers: whole in `config`, or as a stream in `datasets`."""

    config: dict[str, Any]
    datasets: dict[str, ray.data.Dataset]


def _input(task: TrainTask, num_cpus: int) -> _Given:
    if is_streamed(task.source):
        imported = open_imported(absolute(task.source.source))
        workers = task.train.workers
        num_readers = min(READERS_PER_WORKER * workers, max(workers, num_cpus))
        stream = open_stream(imported, task.seed, num_readers, servers_of(task.source))
        return _Given({"imported": imported}, {NAME: stream})
    dataset = dataset_of(task.source, "train")
    return _Given({"dataset": ray.put((dataset.images, dataset.labels))}, {})


def _input_here(config: dict[str, Any]) -> Input:
    """The images for this worker."""
    if "imported" in config:
        return Stream(config["imported"], ray.train.get_dataset_shard(NAME))
    return InMemory(*ray.get(config["dataset"]))


def _check_strategy(task: TrainTask) -> None:
    import torch

    from sigdca.distributed.strategies import STRATEGIES
    from sigdca.loop.network import build_for

    def check(device: str) -> None:
        with torch.device(device):
            model = build_for(task.model, task.source.source)
            sample = torch.zeros(1, *find_source(task.source.source).input_shape)
        STRATEGIES[task.train.strategy].check(model, sample)

    try:
        check("meta")
    except JobError:  # its constructor may read values, which tensors on meta have not
        check("cpu")


# The trained weights and the figures, or that there are none; of rank 0 alone.
_Trained = tuple[dict[str, Any], tuple[dict[str, Any], ...]] | DivergedError | None


def _worker(config: dict[str, Any]) -> _Trained:
    """What each worker runs."""
    import torch

    from sigdca.distributed.strategies import STRATEGIES
    from sigdca.loop.network import state_of
    from sigdca.loop.work import train_share

    context = ray.train.get_context()
    rank = context.get_world_rank()
    # A machine may have one that is not this worker's.
    uses_gpu = bool(ray.get_gpu_ids()) and torch.cuda.is_available()
    if not uses_gpu:
        torch.set_num_threads(1)  # one CPU each, and sums in one order on every machine
    device = str(ray.train.torch.get_device()) if uses_gpu else "cpu"
    news: News = config["news"]
    preemptions = Preemptions(news, rank)
    resume = _agreed(rank, _last_checkpoint())
    if rank == 0:
        news.began(context.get_world_size(), 0 if resume is None else resume.epoch)

    def on_epoch(figures: EpochFigures, checkpoint: Callable[[], Checkpoint[Whole]]) -> None:
        preemptions.look()
        _report(rank, figures, checkpoint())

    try:
        model, figures = train_share(
            config["task"],
            ray.get(config["state"]),
            _input_here(config),
            place=Place(rank, context.get_world_size(), device),
            strategy=STRATEGIES[config["task"].train.strategy],
            resume=resume,
            on_epoch=on_epoch,
            on_step=news.step if rank == 0 else None,
            on_speed=news.speed if rank == 0 else None,
        )
    except DivergedError as error:  # in each worker alike; one that raises is started anew
        return error
    if rank != 0:
        return None
    return state_of(model), tuple(asdict(figure) for figure in figures)


def _last_checkpoint() -> Checkpoint[Rows] | None:
    """The last checkpoint that is whole.

    Raises:
        StorageError: there are some, but none is.
    """
    last = ray.train.get_checkpoint()
    if last is None:
        return None
    try:
        return _read(last)
    except StorageError as error:
        mode = ray.train.CheckpointConsistencyMode.COMMITTED
        reported = ray.train.get_all_reported_checkpoints(consistency_mode=mode)
        others = [known.checkpoint for known in reported if known.checkpoint.path != last.path]
        for other in reversed(others):
            with contextlib.suppress(StorageError):
                return _read(other)
        raise error


def _read(checkpoint: ray.train.Checkpoint) -> Checkpoint[Rows]:
    if isinstance(checkpoint.filesystem, LocalFileSystem):
        return load_checkpoint(checkpoint.path)
    # Ray gives all workers of a node one folder, into which one may load while another reads.
    with tempfile.TemporaryDirectory(prefix="sigdca-checkpoint-") as folder:
        return load_checkpoint(checkpoint.to_directory(folder))


def _agreed(rank: int, resume: Checkpoint[Rows] | None) -> Checkpoint[Rows] | None:
    """The checkpoint that a worker has read, if it is of the same epoch as rank 0's.

    Raises:
        StorageError: it is of another: one could not read the last. All start anew.
    """
    epoch = 0 if resume is None else resume.epoch
    first = broadcast_from_rank_zero(epoch)
    if epoch != first:
        raise StorageError(
            f"checkpoints: worker {rank} could read the one of epoch {epoch}, worker 0 that of "
            f"epoch {first}"
        )
    return resume


def _report(rank: int, figures: EpochFigures, checkpoint: Checkpoint[Whole]) -> None:
    """Tells Ray Train, with a checkpoint from rank 0; all workers must call this."""
    metrics = asdict(figures)
    if rank != 0:
        save_checkpoint(None, checkpoint)
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder, checkpoint)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


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
