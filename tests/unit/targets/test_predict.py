"""The predictor: never above the roofline, and what it must grow and shrink with."""

import numpy as np
import pytest

from sigdca.codec import encode_container, inspect_container
from sigdca.job import parse_job
from sigdca.loop.network import graph_of, initial_model, state_of
from sigdca.targets import load_target, predict

JOB = """
name: p
model: {model}
data: {{source: mnist}}
train: {{}}
"""


def info_of(model, density):
    job = parse_job(JOB.format(model=model), "p.yaml")
    network = initial_model(job)
    state = state_of(network)
    rng = np.random.default_rng(0)
    for name, value in state.items():
        if name.endswith("weight"):
            value *= rng.random(value.shape) < density
    return inspect_container(encode_container(graph_of(job, network), state))


def test_lenet_5_by_hand():
    info = info_of("lenet-5", 1.0)
    found = predict(load_target("atom-x5-e3940"), info)
    # conv1 500 x 576, conv2 25,000 x 64, ip1 400,000, ip2 5,000: 2.293 million multiply-adds
    operations = 2 * (500 * 576 + 25_000 * 64 + 400_000 + 5_000)
    roofline_us = operations / (8 * 1800)
    assert found.low_us == pytest.approx(roofline_us, rel=0.05)
    assert found.low_us < found.latency_us < found.high_us
    assert found.energy_mj == pytest.approx(9500 * found.latency_us / 1e6)


def test_zeros_help_the_native_engine_alone():
    dense, sparse = info_of("lenet-300-100", 1.0), info_of("lenet-300-100", 0.05)
    native, tensorrt = load_target("jetson-tx2-cpu"), load_target("jetson-tx2")
    assert predict(native, sparse).latency_us < 0.5 * predict(native, dense).latency_us
    assert predict(tensorrt, sparse).latency_us == pytest.approx(
        predict(tensorrt, dense).latency_us
    )


def test_half_precision_takes_half_the_time_of_the_gpu_at_best():
    info, target = info_of("lenet-5", 1.0), load_target("jetson-tx2")
    one = target.memory.max_bytes.model_copy(update={"value": 1})
    slow = target.model_copy(
        update={
            "cpu": tuple(cpu.model_copy(update={"l2_bytes": one}) for cpu in target.cpu),
            "memory": target.memory.model_copy(update={"bandwidth_bytes_per_s": one}),
        }
    )
    for whole in (target, slow):  # bound by its operations, by its memory
        half = whole.model_copy(update={"engine": "tensorrt-fp16"})
        share = predict(half, info).low_us / predict(whole, info).low_us
        assert 0.5 <= share < 0.6
