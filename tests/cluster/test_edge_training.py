"""Train legs by actors that are pinned to the boards where the samples lie."""

from sigdca.distributed.cluster import emulating_nodes
from sigdca.edge.delta import apply_delta
from sigdca.edge.train_plan import TrainConfig
from sigdca.loop import EdgeTrainTask, LocalExecutor
from tests.bright import model, write_samples
from tests.conftest import emulated

ATOM = "atom-x5-e3940"
CONFIG = TrainConfig(epochs=5, learning_rate=0.1, time_limit_s=100)


def test_a_delta_comes_back_from_the_board(executor, tmp_path):
    data = write_samples(tmp_path / "bright")
    task = EdgeTrainTask(ATOM, model(), data, CONFIG)
    nowhere = EdgeTrainTask("jetson-tx2-cpu", model(), data, CONFIG)
    without = EdgeTrainTask(ATOM, model(), str(tmp_path / "none"), CONFIG)
    with emulating_nodes(executor.cluster, [emulated(ATOM)], 2) as failed:
        assert failed == {}
        found, lost, empty = executor.edge_trains([task, nowhere, without])
    (here,) = LocalExecutor().edge_trains([task])
    assert found.delta == here.delta is not None
    assert apply_delta(model(), found.delta) != model()
    assert (lost.delta, empty.delta) == (None, None)
    assert lost.reason == "target 'jetson-tx2-cpu': no node of the cluster stands for it"
    assert str(tmp_path / "none") in empty.reason
