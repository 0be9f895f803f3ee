"""The train leg: better on what was held out, the same size, within its limits, the same again."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from sigdca.codec import decode_container
from sigdca.edge import limits, tuning
from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.delta import apply_delta, read_delta
from sigdca.edge.limits import Limits
from sigdca.edge.tied import Tied
from sigdca.edge.train_data import labelled_samples, train_where_it_lies
from sigdca.edge.train_leg import run_train_leg
from sigdca.edge.train_plan import Plan, TrainConfig
from sigdca.engines import open_engine
from sigdca.errors import JobError
from tests.bright import model, samples, write_samples
from tests.samples import samples_of

CONFIG = TrainConfig(epochs=5, learning_rate=0.1)
MODEL = model()


@pytest.fixture(scope="module")
def leg():
    return run_train_leg(MODEL, *samples(), CONFIG)


def logits(container, images):
    unpacked = decode_container(container)
    engine = open_engine("native", unpacked.graph, unpacked.tensors, container=container)
    return engine.logits(images)


def test_it_is_better_and_no_larger(leg):
    result = apply_delta(MODEL, leg.delta)
    images, labels = samples(seed=1)
    before = (logits(MODEL, images).argmax(1) == labels).sum()
    after = (logits(result, images).argmax(1) == labels).sum()
    assert after > before + 50
    assert abs(len(result) - len(MODEL)) < 40
    assert (leg.num_epochs, leg.stopped_by) == (5, None)
    assert 0 < leg.duration_s < 60
    assert leg.peak_bytes > 50 << 20


def test_zeros_ties_and_statistics_stay(leg):
    before = decode_container(MODEL).tensors
    after = decode_container(apply_delta(MODEL, leg.delta)).tensors
    for name, old in before.items():
        assert (old != 0).tolist() == (after[name] != 0).tolist()
        assert len(Tied.of(after[name]).values) <= len(Tied.of(old).values)
        is_statistic = "running" in name
        assert np.array_equal(old, after[name]) == is_statistic, name


def test_the_delta_says_what_was_seen(leg):
    info = read_delta(leg.delta)
    assert (info.num_samples, info.evidence.num_held_out) == (160, 40)
    assert info.evidence == leg.evidence
    assert info.accuracy_after > info.accuracy_before
    assert f"{info.evidence.num_right_after} instead of" in leg.reason


def test_the_same_again_is_the_same_delta(leg):
    assert run_train_leg(MODEL, *samples(), CONFIG).delta == leg.delta
    other = TrainConfig(epochs=5, learning_rate=0.1, seed=1)
    assert run_train_leg(MODEL, *samples(), other).delta != leg.delta


def test_without_gain_there_is_no_delta(leg):
    perfect = apply_delta(MODEL, leg.delta)
    images, _ = samples()
    told = run_train_leg(perfect, images, logits(perfect, images).argmax(1), CONFIG)
    assert told.delta is None
    assert told.reason == "nothing was better on 40 samples held out"
    assert told.evidence.num_right_after == told.evidence.num_right_before == 40


def test_the_time_limit_keeps_the_best_so_far(monkeypatch):
    clock = iter(np.arange(0, 10**6, 1.0))
    monkeypatch.setattr(limits.time, "monotonic", lambda: float(next(clock)))
    told = run_train_leg(MODEL, *samples(), TrainConfig(learning_rate=0.1, time_limit_s=40))
    assert told.stopped_by == "time limit of 40 s"
    assert told.num_epochs < 20
    assert told.delta is not None
    assert told.reason.endswith("; ended by its time limit of 40 s")


def test_no_time_at_all_is_no_delta():
    told = run_train_leg(MODEL, *samples(), TrainConfig(time_limit_s=1e-6))
    assert (told.num_epochs, told.stopped_by) == (0, "time limit of 1e-06 s")


def test_the_memory_limit_ends_it(monkeypatch):
    monkeypatch.setattr(limits, "peak_bytes", lambda: 2 << 30)
    told = run_train_leg(MODEL, *samples(), TrainConfig(memory_limit_bytes=10**9))
    assert (told.num_epochs, told.stopped_by) == (0, "memory limit of 1000 MB")


def test_little_memory_means_few_samples_at_once(leg, monkeypatch):
    with pytest.raises(JobError, match="memory limit 100 MB, this network needs about 351 MB"):
        run_train_leg(MODEL, *samples(), TrainConfig(memory_limit_bytes=10**8))
    # Gradients of five samples at a time, added up: the same but for rounding.
    monkeypatch.setattr(tuning, "_samples_at_once", lambda *_: 5)
    told = run_train_leg(MODEL, *samples(), CONFIG)
    assert told.evidence.num_right_after == pytest.approx(leg.evidence.num_right_after, abs=2)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((20, 1, 6, 5), np.uint8), np.zeros(20, np.int64), r"uint8 \[n, 1, 6, 6\]"),
        (np.zeros((20, 1, 6, 6), np.float32), np.zeros(20, np.int64), "got float32"),
        (np.zeros((20, 1, 6, 6), np.uint8), np.zeros(19, np.int64), r"whole numbers \[20\]"),
        (np.zeros((20, 1, 6, 6), np.uint8), np.zeros(20), "got float64"),
        (np.zeros((9, 1, 6, 6), np.uint8), np.zeros(9, np.int64), "10 labelled samples .* got 9"),
        (np.zeros((20, 1, 6, 6), np.uint8), np.full(20, 3), r"labels must be 0\.\.2, got 3\.\.3"),
    ],
)
def test_samples_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(JobError, match=message):
        run_train_leg(MODEL, images, labels, CONFIG)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("batch_size", 0),
        ("held_out", 1.0),
        ("time_limit_s", 0.0),
        ("memory_limit_bytes", -1),
        ("max_delta_bytes", 100),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(JobError, match=f"train leg: {setting} must be"):
        TrainConfig(**{setting: value})


def test_what_is_trained_fits_the_delta():
    rng = np.random.default_rng(0)
    tensors = {
        "small.weight": rng.integers(-4, 5, (10, 10)).astype(np.float32),
        "small.bias": rng.standard_normal(10).astype(np.float32),
        "small.running_mean": rng.standard_normal(10).astype(np.float32),
        "wide.weight": rng.integers(-4, 5, (100, 100)).astype(np.float32),
        "raw.weight": rng.standard_normal((100, 50)).astype(np.float32),
        "none.bias": np.zeros(10, np.float32),
    }
    plan = Plan.of(tensors, 8192)
    assert set(plan.moving) == {"small.weight"}, "wide has too many weights to train one by one"
    assert set(plan.tied) == {"small.bias", "wide.weight"}
    assert Plan.of(tensors, 20_000).tied == ("wide.weight", "small.bias", "raw.weight")
    assert Plan.of(tensors, 256).moving == ("small.weight",)
    assert Plan.of(tensors, 180).moving == ()


def test_torch_is_asked_for_when_a_leg_begins():
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from sigdca.codec import Graph, Op, encode_container
from sigdca.edge.train_leg import run_train_leg
from sigdca.errors import EngineError
op = Op("fc", "f", (1,), {"out_features": 2, "bias": 0})
graph = Graph((1, 2, 2), 1.0, (Op("flatten", "", (0,)), op))
model = encode_container(graph, {"f.weight": np.ones((2, 4), np.float32)})
try:
    run_train_leg(model, np.zeros((20, 1, 2, 2), np.uint8), np.zeros(20, np.int64))
except EngineError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "train leg: torch is not installed; pip install torch\n"


def test_a_data_set_gives_its_train_split(tmp_path):
    found = labelled_samples(write_samples(tmp_path / "bright"))
    assert np.array_equal(found.images, samples()[0])
    assert found.labels.dtype == np.int64


def test_the_acquire_legs_store_gives_its_labelled_samples(tmp_path):
    store = make_store(tmp_path / "new", About("board", (1, 4, 4), 3, LEAST_BYTES, True))
    store.append(samples_of(range(6), {1: 0, 4: 2}))
    found = labelled_samples(str(tmp_path / "new"))
    assert np.array_equal(found.images, samples_of([1, 4]).images)
    assert found.labels.tolist() == [0, 2]


def test_what_is_wrong_on_the_board_is_said_and_no_error(tmp_path):
    told = train_where_it_lies(MODEL, str(tmp_path), CONFIG)
    assert told.delta is None
    assert str(tmp_path) in told.reason


def test_limits_look_at_the_clock_and_the_peak(monkeypatch):
    assert Limits(None, None).why_stop(1e9) is None
    assert Limits(100, None).why_stop() is None
    assert Limits(100, None).why_stop(101) == "time limit of 100 s"
    before = limits.peak_bytes()
    block = np.ones(1 << 23)  # 64 MiB
    assert limits.peak_bytes() >= before + (32 << 20)
    assert Limits(None, 1).why_stop() == "memory limit of 1e-06 MB"
    del block


def test_a_step_is_adams():
    rng = np.random.default_rng(0)
    start = np.sort(rng.standard_normal(4)).astype(np.float32)
    places, groups = np.arange(6), np.array([0, 1, 2, 3, 3, 1], np.int32)
    ours = tuning._Trained(Tied(start, places, groups, (2, 3)), False, 0.5)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    adam = torch.optim.Adam([theirs], lr=0.5 * 0.1)
    for _ in range(4):
        weights = torch.from_numpy(rng.standard_normal((2, 3)).astype(np.float32))
        (ours.tensor() * weights).square().sum().backward()
        ours.step(0.1)
        adam.zero_grad()
        (theirs[torch.from_numpy(groups)].reshape(2, 3) * weights).square().sum().backward()
        adam.step()
    assert np.allclose(ours.tied().values, theirs.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert not np.allclose(ours.tied().values, start, atol=0.1)
