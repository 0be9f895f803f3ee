"""What one process does of TRAIN, as far as it can be seen where there is no GPU."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sigdca.job import Prune, Share, parse_job
from sigdca.loop import LocalExecutor, TrainTask, Unobserved, local, work
from sigdca.loop.network import initial_model, state_of
from sigdca.storage import open_store
from sigdca.training import InMemory, Place

JOB = """
name: work
model: lenet-300-100
data: {source: mnist, limit: 100}
train: {epochs: 1, batch_size: 50}
"""


@pytest.fixture
def task(tmp_path):
    job = parse_job(JOB, "work.yaml")
    return TrainTask(
        key="task",
        model=job.model,
        state=state_of(initial_model(job)),
        source=job.data,
        config=job.train,
        train=job.train,
        retrained=None,
        seed=0,
        checkpoints=open_store(str(tmp_path)),
    )


@pytest.fixture
def places(monkeypatch):
    """Where networks were to be trained; none is."""
    seen = []

    def noted(model, *_, place, **__):
        seen.append((place.device, torch.is_deterministic_algorithms_warn_only_enabled()))
        return []

    monkeypatch.setattr(work, "train_", noted)
    yield seen
    work.make_repeatable(Place())


def train(task, device):
    images = InMemory(np.zeros((100, 1, 28, 28), np.uint8), np.zeros(100, np.uint8))
    work.train_share(
        task,
        task.state,
        images,
        place=Place(device=device),
        resume=None,
        on_epoch=lambda *_: None,
    )


def test_a_gpu_is_repeatable_as_far_as_its_operators_are(task, places, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    train(task, "cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    train(task, "cuda:0")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert places == [("cpu", False), ("cuda:0", True)]
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_torch_compile_is_repeatable_too(places):
    work.make_repeatable(Place())
    work.make_repeatable(Place(), compiled=True)
    assert torch._inductor.config.deterministic


def test_the_compiler_is_not_imported_where_nothing_is_compiled():
    code = "from sigdca.loop.work import make_repeatable; from sigdca.training import Place; "
    code += "make_repeatable(Place()); import sys; print('torch._inductor.config' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("there", "device"), [(False, "cpu"), (True, "cuda")])
def test_this_process_trains_on_its_gpu(task, places, monkeypatch, there, device):
    monkeypatch.setattr(local.torch.cuda, "is_available", lambda: there)
    LocalExecutor().train(task, Unobserved())
    assert [place for place, _ in places] == [device]


def test_labels_are_smoothed_in_train_alone(task, monkeypatch):
    seen = []
    monkeypatch.setattr(
        work, "train_", lambda *_, label_smoothing, **__: seen.append(label_smoothing)
    )
    smoothed = replace(task, train=task.train.model_copy(update={"label_smoothing": 0.1}))
    train(task, "cpu")
    train(smoothed, "cpu")
    train(replace(smoothed, retrained=Prune(sparsity=0.5)), "cpu")
    assert seen == [0.0, 0.1, 0.0]


def test_zeros_of_an_earlier_pass_stay_zero(task):
    state = {name: value.copy() for name, value in task.state.items()}
    state["ip1.weight"][:, ::2] = 0
    share = Share(bits={"ip2": 4})
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (100, 1, 28, 28), dtype=np.uint8)
    images = InMemory(pixels, np.arange(100, dtype=np.uint8) % 10)
    for held in ((), ("ip1",)):
        retraining = replace(task, state=state, config=share, retrained=share, held=held)
        model, _ = work.train_share(
            retraining, state, images, place=Place(), resume=None, on_epoch=lambda *_: None
        )
        weight = model.ip1.weight.detach().numpy()
        assert np.array_equal(weight == 0, state["ip1.weight"] == 0) is (held != ())
        assert not np.array_equal(weight, state["ip1.weight"])
