"""The predictor's error on this machine: calibrated on micro networks, tested on real forms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from claims import Claim, at_least, at_most
from paper_networks import DENSITIES, compressed

from sigdca.codec import encode_container, expected_tensors, inspect_container
from sigdca.native import Model, Session
from sigdca.targets import load_target, predict, target_names
from sigdca.targets.calibrate import bound_to_noise, calibrate, measure
from sigdca.targets.micro import Net

BOUND = 15.0  # percent


def predictor_claims(quick: bool) -> list[Claim]:
    """Networks that the calibration has not seen, measured in turn, before and after it."""
    here = [load_target(name) for name in target_names()]
    here = [one for one in here if one.engine == "native" and one.why_not_here() is None]
    target = max(here, key=lambda one: len(one.cpu[0].isa))
    rounds = 10 if quick else 40
    names, containers = zip(*_variants(), strict=True)
    calls = [bound_to_noise(Session(Model(content), profile="exact")) for content in containers]
    before = measure(calls, rounds)
    calibration = calibrate(target, rounds=rounds)
    times = np.minimum(before, measure(calls, rounds))
    found = [predict(target, inspect_container(content), calibration) for content in containers]
    errors = [
        float(100 * (one.latency_us / took - 1)) for one, took in zip(found, times, strict=True)
    ]
    inside = [
        100.0 * (one.low_us <= took <= one.high_us) for one, took in zip(found, times, strict=True)
    ]
    for name, took, one in zip(names, times, found, strict=True):
        print(f"{name}: {took:.1f} us, predicted {one.latency_us:.1f}", file=sys.stderr)
    low, high = calibration.band
    signed = f"signed {min(errors):.0f} to {max(errors):.0f} %"
    how = f"calibrated on {calibration.num_networks} other networks; {signed}"
    band = f"band {low:.2f} to {high:.2f} of the prediction"
    share = [float(np.mean(inside))]
    sizes = [abs(error) for error in errors]
    covered = at_least("predictor: measured inside the 90 % band", share, 80, "%", band)
    return [
        at_most("predictor, calibrated here: absolute error", sizes, BOUND, "%", how),
        replace(covered, n=len(inside)),
    ]


def _variants() -> Iterator[tuple[str, bytes]]:
    """Names and containers."""
    for hidden in ((300, 100), (150, 60), (500, 150)):
        for share in (0.5, 1.0, 3.0) if hidden == (300, 100) else (1.0,):
            densities = tuple(min(100.0, share * each) for each in DENSITIES["lenet-300-100"])
            yield (
                f"lenet-{hidden[0]}-{hidden[1]} x{share}",
                _packed(_mlp(hidden), densities, (8, 6)),
            )
    yield "lenet-300-100 dense", _packed(_mlp((300, 100)), (100, 100, 100), (8, 6))
    for width in (10, 20, 32):
        for share in (0.4, 1.0, 2.5) if width == 20 else (1.0,):
            densities = tuple(min(100.0, share * each) for each in DENSITIES["lenet-5"])
            yield f"lenet-5/{width} x{share}", _packed(_lenet5(width), densities, (8, 5))
    yield "lenet-5 dense", _packed(_lenet5(20), (100,) * 4, (8, 5))
    makers: tuple[tuple[str, Callable[[int], Net]], ...] = (
        ("alexnet", _alexnet),
        ("vgg", _vgg),
        ("squeezenet", _squeezenet),
        ("mobilenet", _mobilenet),
    )
    for name, make in makers:
        for width, density in ((8, 100), (16, 40), (24, 15), (32, 30)):
            net = make(width)
            yield f"{name}/{width} at {density} %", _packed(net, (density,) * 99, (8, 5))


def _packed(net: Net, densities: tuple[float, ...], bits: tuple[int, int]) -> bytes:
    rng = np.random.default_rng(1)
    shapes = expected_tensors(net.graph)
    state = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
    return encode_container(net.graph, compressed(state, densities, bits, rng))


def _mlp(hidden: tuple[int, ...]) -> Net:
    net = Net((1, 28, 28))
    net.add("flatten")
    for width in hidden:
        net.fc(width)
        net.add("relu")
    net.end()
    return net


def _lenet5(width: int) -> Net:
    net = Net((1, 28, 28))
    net.conv(width, 5, 1, 0)
    net.pool("max_pool", 2, 2)
    net.conv(5 * width // 2, 5, 1, 0)
    net.pool("max_pool", 2, 2)
    net.add("flatten")
    net.fc(500)
    net.add("relu")
    net.end()
    return net


def _alexnet(width: int) -> Net:
    """Of a 64x64 image."""
    net = Net((3, 64, 64))
    net.conv(2 * width, 11, 4, 2)
    net.add("relu")
    net.add("lrn", size=5, alpha=1e-4, beta=0.75, k=2.0)
    net.pool("max_pool", 3, 2)
    net.conv(6 * width, 5, 1, 2)
    net.add("relu")
    net.pool("max_pool", 3, 2)
    for channels in (12 * width, 8 * width, 8 * width):
        net.conv(channels, 3, 1, 1)
        net.add("relu")
    net.add("flatten")
    net.fc(32 * width)
    net.add("relu")
    net.end()
    return net


def _vgg(width: int) -> Net:
    """Of CIFAR's images."""
    net = Net((3, 32, 32))
    for channels in (width, 2 * width, 4 * width):
        for _ in range(2):
            net.conv(channels, 3, 1, 1)
            net.add("relu")
        net.pool("max_pool", 2, 2)
    net.add("flatten")
    net.fc(16 * width)
    net.add("relu")
    net.end()
    return net


def _squeezenet(width: int) -> Net:
    net = Net((3, 64, 64))
    net.conv(4 * width, 3, 2, 0)
    net.add("relu")
    net.pool("max_pool", 3, 2)
    for squeeze in (width, width, 2 * width):
        net.conv(squeeze, 1, 1, 0)
        squeezed = net.add("relu")
        net.conv(4 * squeeze, 1, 1, 0)
        one = net.add("relu")
        net.conv(4 * squeeze, 3, 1, 1, value=squeezed)
        net.add("concat", (one, net.add("relu")))
    net.conv(10, 1, 1, 0)
    net.add("relu")
    net.add("global_avg_pool")
    net.add("flatten")
    return net


def _mobilenet(width: int) -> Net:
    net = Net((3, 64, 64))
    net.conv(width, 3, 2, 1)
    net.add("relu6")
    for channels, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1)):
        net.conv(net.shape[0], 3, stride, 1, net.shape[0])
        net.add("relu6")
        net.conv(channels * width, 1, 1, 0)
        net.add("relu6")
    net.end()
    return net
