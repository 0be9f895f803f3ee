"""What a trial predicts of targets: by a board's calibration where there is one."""

import shutil

import numpy as np
import pytest

from sigdca.codec import encode_container, expected_tensors
from sigdca.data import Dataset
from sigdca.distributed import trial as module
from sigdca.distributed.trial import asked_of, predicted_figures, run_dense, run_trial, spec_of
from sigdca.errors import SigdcaError
from sigdca.job import load_job, parse_job
from sigdca.loop.network import unpack
from sigdca.models import build, save_weights
from sigdca.storage import open_store
from sigdca.targets import load_target
from sigdca.targets.calibration import Calibration
from sigdca.targets.memory import memory_bytes
from sigdca.targets.micro import Net
from tests.conftest import ROOT
from tests.images import write_shards

JOB = """
name: p
model: lenet-5
data: {source: mnist}
train: {}
search:
  space: {seed: {choice: [1, 2]}}
  objectives: {accuracy: max, latency_us@jetson-tx2-cpu: min}
  num_trials: 2
compress: {recipe: [{prune: {schedule: one-shot, sparsity: 0.5}}, {encode: {coder: huffman}}]}
"""


def container():
    net = Net((1, 4, 4))
    net.add("flatten")
    net.fc(10)
    rng = np.random.default_rng(0)
    shapes = expected_tensors(net.graph).items()
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes}
    return encode_container(net.graph, tensors)


def calibration(target):
    return Calibration(
        target=target,
        processor="a board",
        platform="Linux",
        version="0",
        isa="neon",
        profile="exact",
        cache_bytes=1e6,
        num_networks=9,
        median_error=0.1,
        band=(0.8, 1.2),
        microseconds={"input:": {"run": 1.0}, "dense fc:": {"run": 2.0, "columns": 0.5}},
    )


def test_a_calibration_is_taken_where_there_is_one(tmp_path, monkeypatch):
    job = parse_job(JOB, "p.yaml")
    roofline = predicted_figures(asked_of(job), container())["latency_us@jetson-tx2-cpu"]
    monkeypatch.setenv("SIGDCA_CALIBRATIONS", str(tmp_path))
    assert predicted_figures(asked_of(job), container())["latency_us@jetson-tx2-cpu"] == roofline
    path = tmp_path / "jetson-tx2-cpu.calibration.json"
    path.write_text(calibration("jetson-tx2-cpu").model_dump_json())
    figures = predicted_figures(asked_of(job), container())
    assert figures["latency_us@jetson-tx2-cpu"] == pytest.approx(1 + 2 + 16 * 0.5)
    assert figures["fps@jetson-tx2-cpu"] == pytest.approx(1e6 / 11)


def test_power_and_memory_are_predicted_too_but_memory_only_where_it_is_asked_for():
    job = parse_job(JOB, "p.yaml")
    target = load_target("jetson-tx2-cpu")
    figures = predicted_figures(asked_of(job), container())
    assert figures["power_mw@jetson-tx2-cpu"] == target.power.max_mw.value
    energy_mj = target.power.max_mw.value * figures["latency_us@jetson-tx2-cpu"] * 1e-6
    assert figures["energy_mj@jetson-tx2-cpu"] == pytest.approx(energy_mj)
    assert "memory_bytes@jetson-tx2-cpu" not in figures
    bound = "budget.at={jetson-tx2-cpu: {memory_bytes: 9999}}"
    figures = predicted_figures(asked_of(parse_job(JOB, "p.yaml", [bound])), container())
    assert figures["memory_bytes@jetson-tx2-cpu"] == memory_bytes(target, container())


def test_the_jobs_own_recipe_need_not_lie_in_the_space(tmp_path, monkeypatch):
    space = "search.space={compress.recipe.0.prune.sparsity: {uniform: [0.8, 0.9]}}"
    job = parse_job(JOB, "p.yaml", [space])
    ran = []

    def run_job(job, *_):
        ran.append(job)
        raise SigdcaError("enough")

    monkeypatch.setattr(module, "run_job", run_job)
    spec = spec_of(job.model_copy(update={"weights": None}), open_store(str(tmp_path)))
    for point in ({}, {"compress.recipe.0.prune.sparsity": 0.85}):
        with pytest.raises(SigdcaError, match="enough"):
            run_trial(spec, 1, point, 1.0)
    assert [job.compress.recipe[0].prune.sparsity for job in ran] == [0.5, 0.85]


def test_a_trial_needs_no_file_that_lies_where_the_search_was_started(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    rng = np.random.default_rng(0)
    digits = Dataset(
        rng.integers(0, 256, (40, 1, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
    )
    write_shards(here / "digits", {"train": [digits], "test": [digits]}, 10, "digits")
    shutil.copy(ROOT / "sigdca" / "targets" / "jetson-tx2-cpu.toml", here / "my.toml")
    settings = ["model=lenet-300-100", "data.source=./digits", "weights=tiny.safetensors"]
    settings += ["train.epochs=0", "search.objectives={error: min, latency_us@./my.toml: min}"]
    settings += ["compress.recipe=[{prune: {sparsity: 0.5}}, encode]"]
    settings += ["data.more=[./digits]"]
    job = parse_job(JOB, "p.yaml", settings)
    model = build("lenet-300-100", 10)
    save_weights(model, "tiny.safetensors")
    monkeypatch.setattr(module.ray, "put", lambda value: value)
    monkeypatch.setattr(module.ray, "get", lambda value: value)
    spec = spec_of(job, open_store(str(tmp_path / "study")))
    for name in ("tiny.safetensors", "my.toml"):
        (here / name).unlink()
    monkeypatch.chdir(elsewhere)
    dense = unpack(spec.store.child("shared").get(run_dense(spec)["artifact"]))
    for name, tensor in model.state_dict().items():
        assert (dense[name] == tensor.numpy()).all(), "nothing was trained"
    result = run_trial(spec, 1, {"seed": 1}, 1.0)
    assert "latency_us@./my.toml" in result["predicted"]
    written = load_job(tmp_path / "study" / result["run"] / "job.yaml")
    assert written.weights == str(here / "tiny.safetensors")
    assert written.data.source == str(here / "digits")
    assert written.data.more == (str(here / "digits"),)
