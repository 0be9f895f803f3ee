"""TRAIN's images as a stream through Ray Data, on real workers."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import ray.train
import ray.train.torch

from sigdca.data import open_imported
from sigdca.distributed import streaming
from sigdca.distributed.reading import Reader
from sigdca.distributed.streaming import NAME, Stream, in_order, open_stream
from sigdca.errors import FormatError
from sigdca.job import Augment, DataSource
from sigdca.loop import TrainTask
from sigdca.loop.network import initial_model, state_of
from sigdca.storage import open_store
from sigdca.training import Place
from tests.cluster.processes import kill_one
from tests.images import numbers_of, write_data_set
from tests.observers import Noting

SHARDS = [40, 7, 33, 20, 1, 50, 49, 37]  # 237 images
BATCH, NUM_EPOCHS = 20, 3


@pytest.fixture
def folder(tmp_path):
    write_data_set(tmp_path / "streamed", {"train": SHARDS, "test": [30]})
    return tmp_path / "streamed"


def read_epochs(config):
    """What a worker does: leaves the numbers and labels of its images, batch by batch."""
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size())
    stream = Stream(open_imported(config["folder"]), ray.train.get_dataset_shard(NAME))
    epochs = [
        [
            [numbers_of(images), labels.tolist()]
            for images, labels in stream.batches(epoch, BATCH, config["seed"], place)
        ]
        for epoch in range(NUM_EPOCHS)
    ]
    Path(config["output"], str(place.rank)).write_text(json.dumps(epochs))


def read_by_two(folder, output, seed):
    """Two workers read all epochs: [epoch][worker][step] -> [numbers, labels]."""
    output.mkdir()
    ray.train.torch.TorchTrainer(
        read_epochs,
        train_loop_config={"folder": str(folder), "output": str(output), "seed": seed},
        datasets={NAME: open_stream(open_imported(str(folder)), seed, 2)},
        dataset_config=in_order(),
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(storage_path=str(output / "runs")),
    ).fit()
    workers = [json.loads((output / str(rank)).read_text()) for rank in range(2)]
    return list(zip(*workers, strict=True))


def test_each_image_comes_at_most_once_an_epoch_in_an_order_that_the_seed_gives(
    executor, folder, tmp_path
):
    epochs = read_by_two(folder, tmp_path / "a", seed=7)
    for workers in epochs:
        assert [len(steps) for steps in workers] == [sum(SHARDS) // BATCH] * 2
        assert all(len(numbers) == BATCH // 2 for steps in workers for numbers, _ in steps)
        seen = [number for steps in workers for numbers, _ in steps for number in numbers]
        assert len(set(seen)) == len(seen) == sum(SHARDS) // BATCH * BATCH
        assert set(seen) <= set(range(sum(SHARDS)))
        for steps in workers:
            for numbers, labels in steps:
                assert labels == [number % 10 for number in numbers]
                assert numbers != sorted(numbers)
    assert epochs[0] != epochs[1] != epochs[2]
    assert read_by_two(folder, tmp_path / "b", seed=7) == epochs


class Dying(Reader):
    """The first of all readers is killed as it reads."""

    def __call__(self, some):
        with contextlib.suppress(FileExistsError):
            Path(self.imported.store.root, "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(some)


@pytest.mark.slow
def test_a_reader_that_is_lost_leaves_no_gap_and_changes_no_order(
    executor, folder, tmp_path, monkeypatch
):
    undisturbed = read_by_two(folder, tmp_path / "a", seed=7)
    monkeypatch.setattr(streaming, "Reader", Dying)
    assert read_by_two(folder, tmp_path / "b", seed=7) == undisturbed
    assert (folder / "killed").exists()


@pytest.mark.slow
def test_training_on_a_stream_goes_on_when_a_worker_is_lost(executor, job, folder, tmp_path):
    source = DataSource(source=str(folder), streaming=True)
    job = job.model_copy(update={"model": "tests.cluster.nets:Small", "data": source})
    settings = {"epochs": 4, "batch_size": BATCH, "augment": Augment()}
    train = job.train.model_copy(update=settings)
    task = TrainTask(
        key="stream",
        model=job.model,
        state=state_of(initial_model(job)),
        source=source,
        config=train,
        train=train,
        retrained=None,
        seed=5,
        checkpoints=open_store(str(tmp_path / "checkpoints")),
    )
    killed = []

    def kill_once(figures):
        if figures["epoch"] == 2 and not killed:  # the first one's checkpoint is kept by now
            killed.append(kill_one("ray::RayTrainWorker"))

    seen = Noting(kill_once)
    outcome = executor.train(task, seen)
    assert [figures["epoch"] for figures in outcome.epochs] == [1, 2, 3, 4]
    lost, goes_on = seen.notes
    assert "lost" in lost
    assert goes_on.startswith("training goes on after epoch")


def test_a_damaged_shard_is_found_before_anything_is_read(folder):
    shard = folder / "train/part-00002.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-30])
    with pytest.raises(FormatError, match=r"part-00002\.parquet: damaged"):
        open_stream(open_imported(str(folder)), 0, 2)
