"""TRAIN's images as a stream through Ray Data, on real workers."""

import json
from pathlib import Path

import pytest
import ray.train
import ray.train.torch

from sigdca.data import open_imported
from sigdca.distributed.streaming import NAME, Stream, in_order, open_stream
from sigdca.errors import FormatError
from sigdca.training import Place
from tests.images import numbers_of, write_data_set

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


def test_a_damaged_shard_is_found_before_anything_is_read(folder):
    shard = folder / "train/part-00002.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-30])
    with pytest.raises(FormatError, match=r"part-00002\.parquet: damaged"):
        open_stream(open_imported(str(folder)), 0, 2)
