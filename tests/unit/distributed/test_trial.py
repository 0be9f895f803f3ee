"""What a trial predicts of targets: by a board's calibration where there is one."""

import numpy as np
import pytest

from sigdca.codec import encode_container, expected_tensors
from sigdca.distributed.trial import predicted_figures
from sigdca.job import parse_job
from sigdca.targets.calibration import Calibration
from sigdca.targets.micro import Net

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
    roofline = predicted_figures(job, container())["latency_us@jetson-tx2-cpu"]
    monkeypatch.setenv("SIGDCA_CALIBRATIONS", str(tmp_path))
    assert predicted_figures(job, container())["latency_us@jetson-tx2-cpu"] == roofline
    path = tmp_path / "jetson-tx2-cpu.calibration.json"
    path.write_text(calibration("jetson-tx2-cpu").model_dump_json())
    figures = predicted_figures(job, container())
    assert figures["latency_us@jetson-tx2-cpu"] == pytest.approx(1 + 2 + 16 * 0.5)
    assert figures["fps@jetson-tx2-cpu"] == pytest.approx(1e6 / 11)
