"""TRAIN and RETRAIN on real Ray workers."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from sigdca.distributed import training
from sigdca.errors import DivergedError, JobError, SigdcaError
from sigdca.job import DataSource
from sigdca.loop import Unobserved, run_job
from sigdca.storage import open_store
from tests.cluster.processes import kill_one
from tests.observers import Noting


class Watching(Noting):
    """Watches a whole run."""

    def begin(self, stage, label, iteration, num_epochs):
        pass

    def end(self, record, reused):
        pass


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(executor, make_task, tmp_path_factory):
    """A task that came to its end: the task, what was heard, and the outcome."""
    task, seen = make_task(tmp_path_factory.mktemp("undisturbed")), Noting()
    return task, seen, executor.train(task, seen)


def test_two_workers_learn_and_report_every_epoch(undisturbed):
    task, seen, outcome = undisturbed
    assert [figures["epoch"] for figures in seen.epochs] == [1, 2, 3]
    assert seen.epochs == list(outcome.epochs)
    assert outcome.epochs[-1]["loss"] < outcome.epochs[0]["loss"]
    assert not same(outcome.state, task.state)


HOROVOD = pytest.param(
    "horovod",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("horovod") is None,
        reason="Horovod is not installed: run `make horovod`",
    ),
)


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("ddp", "deepspeed", "fsdp", "hybrid")
]


@pytest.mark.parametrize("strategy", [HOROVOD, *SLOW])
def test_masks_hold_under_every_strategy(executor, job, task, strategy):
    """Without Ray the strategies' contract suite shows it, and under ddp `sigdca run` in e2e."""
    train = task.train.model_copy(update={"strategy": strategy})
    prune = job.compress.recipe[0].prune
    pruned = executor.train(
        replace(task, train=train, config=prune, retrained=prune), Unobserved()
    )
    weight = pruned.state["ip1.weight"]
    assert (weight == 0).sum() == round(0.9 * weight.size)


def test_a_strategy_that_is_not_for_the_network_is_refused_at_once(executor, task):
    train = task.train.model_copy(update={"strategy": "hybrid"})
    source = DataSource(source="cifar10")
    task = replace(task, model="squeezenet-1.0", source=source, train=train)
    with pytest.raises(JobError, match="hybrid is for networks with fully connected layers"):
        executor.train(task, Unobserved())


@pytest.mark.slow
def test_two_workers_learn_in_bf16(executor, job, task):
    from sigdca.loop.network import initial_model, state_of

    lenet = job.model_copy(update={"model": "lenet-5"})
    config = task.config.model_copy(update={"epochs": 2, "learning_rate": 0.05})
    task = replace(task, model=lenet.model, state=state_of(initial_model(lenet)), config=config)
    train = task.train.model_copy(update={"precision": "bf16"})
    plain = executor.train(task, Unobserved())
    mixed = executor.train(replace(task, key="mixed", train=train), Unobserved())
    assert mixed.epochs[-1]["loss"] == pytest.approx(plain.epochs[-1]["loss"], rel=0.1)
    assert not same(plain.state, mixed.state)
    assert all(array.dtype == np.float32 for array in mixed.state.values())
    assert all(array.flags.c_contiguous for array in mixed.state.values())


@pytest.mark.parametrize("strategy", ["ddp", HOROVOD])
def test_a_killed_worker_is_replaced_and_the_result_is_the_same(
    executor, task, undisturbed, strategy
):
    _, _, whole = undisturbed  # by ddp
    task = replace(task, train=task.train.model_copy(update={"strategy": strategy}))
    if strategy != "ddp":
        whole = executor.train(replace(task, key="a"), Unobserved())
    killed = []

    def kill_once(figures):
        if figures["epoch"] == 1 and not killed:
            killed.append(kill_one("ray::RayTrainWorker"))

    disturbed = executor.train(replace(task, key="b"), Noting(kill_once))
    assert killed
    assert same(whole.state, disturbed.state)
    assert len(disturbed.epochs) == 3


@pytest.mark.slow
def test_a_run_goes_on_with_fewer_workers_under_another_strategy(
    executor, job, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "MAX_FAILURES", 0)
    store, seen = open_store(str(tmp_path)).child("run"), Watching()

    class Killing(Watching):
        def epoch(self, figures):
            super().epoch(figures)
            if figures["epoch"] == 1:
                kill_one("ray::RayTrainWorker")

    with pytest.raises(SigdcaError, match="training: "):
        run_job(job, executor, store, Killing(), "test")
    other = job.train.model_copy(update={"workers": 1, "strategy": "fsdp"})
    run_job(job.model_copy(update={"train": other}), executor, store, seen, "test")
    assert seen.epochs[-1]["epoch"] == 3
    assert seen.epochs[0]["epoch"] > 1, "from the checkpoint of the two workers"


@pytest.mark.slow
def test_a_finished_task_is_not_trained_again(executor, task):
    first = executor.train(task, Unobserved())
    seen = Noting()
    again = executor.train(task, seen)
    assert seen.epochs == []
    assert same(first.state, again.state)
    assert first.epochs == again.epochs


def test_shared_weights_stay_tied_on_every_worker(executor, job, task):
    from sigdca.compression import prepare_
    from sigdca.loop.network import graph_of, model_with, state_of

    share = job.compress.recipe[1].share
    model = model_with(job, task.state)
    prepare_(model, share, 1, graph_of(job, model))
    start = state_of(model)
    shared = replace(task, state=start, config=share, retrained=share)
    outcome = executor.train(shared, Unobserved())
    for layer in ("ip1", "ip2", "ip3"):
        name = f"{layer}.weight"
        values, index = np.unique(start[name], return_inverse=True)
        tuned = outcome.state[name].ravel()
        for number in range(len(values)):
            assert len(np.unique(tuned[index.ravel() == number])) == 1
        assert not np.array_equal(start[name], outcome.state[name])


def test_more_workers_than_cpus_is_refused(executor, task):
    train = task.train.model_copy(update={"workers": 64, "batch_size": 64})
    with pytest.raises(JobError, match=r"train\.workers: 64 asked, but the cluster has"):
        executor.train(replace(task, train=train), Unobserved())


def test_a_diverging_run_says_so(executor, task):
    config = task.config.model_copy(update={"learning_rate": 1e30})
    seen = Noting()
    with pytest.raises(DivergedError, match="the loss is") as caught:
        executor.train(replace(task, config=config), seen)
    assert "\n" not in str(caught.value)
    assert seen.notes == [], "it is not tried again"
