"""Who gets a GPU."""

import pytest

from sigdca.distributed.training import scaling, unused_gpus
from sigdca.job import DataSource, Train


@pytest.mark.parametrize(
    ("least", "most", "num_gpus", "use_gpu"),
    [(None, 1, 0, False), (None, 1, 1, True), (None, 2, 1, False), (1, 4, 2, True)],
)
def test_each_worker_has_a_gpu_where_there_are_enough_for_the_fewest(
    least, most, num_gpus, use_gpu
):
    train = Train(epochs=1, workers=most, workers_at_least=least)
    found = scaling(train, DataSource(source="mnist"), num_gpus)
    assert found.use_gpu is use_gpu
    assert found.num_workers == (most if least is None else (least, most))
    assert found.resources_per_worker == {"CPU": 1}


@pytest.mark.parametrize(
    ("least", "most", "num_gpus", "said"),
    [
        (None, 2, 0, None),
        (None, 2, 2, None),
        (None, 2, 1, "1 GPU for 2 workers; train.workers=1 would use it"),
        (3, 8, 2, "2 GPUs for 3 workers; train.workers_at_least=2 would use them"),
    ],
)
def test_too_few_gpus_are_not_left_alone_silently(least, most, num_gpus, said):
    train = Train(epochs=1, workers=most, workers_at_least=least)
    expected = None if said is None else f"training on CPUs: the cluster has {said}"
    assert unused_gpus(train, num_gpus) == expected
    assert not (said and scaling(train, DataSource(source="mnist"), num_gpus).use_gpu)
