"""Who gets a GPU."""

import pytest

from sigdca.distributed.training import scaling
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
