"""Steps: what the library does together is one, and counts are those of a calculation by hand."""

import numpy as np
import pytest

from sigdca.codec import encode_container, expected_tensors, inspect_container
from sigdca.native import Model, Session
from sigdca.targets.micro import Net, micro_networks
from sigdca.targets.work import steps_of


def info_of(net, density=1.0):
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in expected_tensors(net.graph).items():
        values = rng.standard_normal(shape).astype(np.float32)
        tensors[name] = values * (rng.random(shape) < density) if len(shape) > 1 else values
    return inspect_container(encode_container(net.graph, tensors))


def two_layers():
    net = Net((3, 10, 10))
    net.conv(8, 3, 1, 1)
    net.add("relu")
    net.pool("max_pool", 2, 2)
    net.add("flatten")
    net.fc(10)
    return net


def test_a_clamp_and_a_flattening_are_no_steps_of_their_own():
    steps = steps_of(info_of(two_layers()), "sse4.2", 1e6)
    assert [step.name for step in steps] == ["input", "conv0", "max_pool 2", "fc4"]
    assert [step.family for step in steps][1:3] == ["conv", "max_pool 2/2"]


def test_a_convolution_by_hand():
    conv = steps_of(info_of(two_layers()), "sse4.2", 1e6)[1].counts
    # 10 x 10 outputs in vectors of 4: two segments of 5 rows fill 5 x 5 vectors without a rest
    assert conv["dense_products"] == 8 * 3 * 9 * 25
    assert conv["products"] == conv["dense_products"]
    assert conv["stored"] == 8 * 25
    assert conv["far_bytes"] == 0


def test_zeros_are_less_work_only_where_they_are_skipped():
    dense, sparse = (steps_of(info_of(two_layers(), d), "avx2", 1e6)[1] for d in (1.0, 0.2))
    assert sparse.counts["products"] < 0.4 * dense.counts["products"]
    assert sparse.counts["dense_products"] == pytest.approx(dense.counts["dense_products"], rel=1)


def test_weights_beyond_the_cache_are_far():
    far = steps_of(info_of(two_layers()), "avx2", 1000)[1].counts["far_bytes"]
    assert 0 < far < 4 * 8 * 3 * 9


def test_a_value_that_is_read_twice_takes_nothing_up():
    net = Net((4, 6, 6))
    value = net.conv(4, 3, 1, 1)
    net.add("add", (net.add("relu"), value))
    net.end()
    names = [step.name for step in steps_of(info_of(net), "avx2", 1e6)]
    assert names[:4] == ["input", "conv0", "relu 1", "add 2"]


def test_micro_networks_are_the_same_every_time_and_run():
    first, again = (next(iter(micro_networks())) for _ in range(2))
    assert first == again
    session = Session(Model(first))
    shape = (1, *session.model.info.input_shape)
    assert np.isfinite(session.run(np.ones(shape, np.uint8))).all()
