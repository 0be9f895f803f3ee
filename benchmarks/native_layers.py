"""Single layers: VGG-16's fc6 by torch, and the cost model's choice by the best of all kernels."""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from claims import Claim, at_most, seen
from native_sides import CACHE, SCALE, NativeSide, take_turns, timed
from numpy.typing import NDArray
from paper_networks import compressed

from sigdca.codec import Graph, Op, encode_container
from sigdca.native import Model, Session, library

FC6 = (512 * 7 * 7, 4096)
FC6_DENSITY = 4
DENSITIES = (5, 15, 30, 50, 75, 100)  # percent
# Channels, side, output channels, kernel: of LeNet-5, AlexNet and VGG-16.
CONVOLUTIONS = ((20, 12, 50, 5), (192, 13, 384, 3), (64, 27, 192, 5), (64, 56, 128, 3))
FULLY_CONNECTED = ((784, 300), (4096, 1000))
_CONV, _FC = 1, 2  # their codes in a container


class TorchSide:
    """A dense product in torch, on one thread."""

    name = "torch"

    def __init__(self, weights: NDArray[np.float32], values: NDArray[np.float32]) -> None:
        torch.set_num_threads(1)
        self._weights, self._values = torch.from_numpy(weights), torch.from_numpy(values)

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """See `Side`."""
        with torch.inference_mode():
            product = partial(torch.nn.functional.linear, self._values, self._weights)
            return timed(product, repeats, warm_up)


def fc6(rounds: int) -> list[Claim]:
    """Time by torch's, and bytes read a second by what one thread can read."""
    cols, rows = FC6
    attrs = {"out_features": rows, "bias": 1}
    ops = (Op("flatten", "", (0,)), Op("fc", "fc6", (1,), attrs))
    rng = np.random.default_rng(0)
    shapes = {"fc6.weight": np.empty((rows, cols), np.float32), "fc6.bias": np.empty(rows)}
    tensors = compressed(shapes, (FC6_DENSITY,), (5, 5), rng)
    path = CACHE / "vgg-16-fc6.dca"
    path.write_bytes(encode_container(Graph((512, 7, 7), SCALE, ops), tensors))
    pixels = rng.integers(1, 256, (1, 512, 7, 7), dtype=np.uint8)  # no zeros to skip
    values = pixels.reshape(1, -1).astype(np.float32) * np.float32(SCALE)
    ours = NativeSide(path, pixels, "fast", "", 1)
    mine, dense = take_turns([ours, TorchSide(tensors["fc6.weight"], values)], rounds, 10)
    ratios = [a / b for a, b in zip(mine, dense, strict=True)]
    held = ours.session.layers()[0].weight_bytes
    rates = [held / time / 1000 for time in mine]  # GB a second
    us = f"{statistics.median(mine):,.4g} us by {statistics.median(dense):,.4g} us"
    share = [100 * rate / _read_gb_per_s() for rate in rates]
    return [
        at_most("vgg-16 fc6 at 4 %, batch 1, sigdca fast", ratios, 0.1, "x", f"torch dense, {us}"),
        at_most("vgg-16 fc6: layer in memory", [held / (4 * rows * cols)], 0.25, "x", "float32"),
        seen("vgg-16 fc6: share of one thread's memory bandwidth (of a sum)", share, "%"),
    ]


def _read_gb_per_s() -> float:
    """What one thread reads from memory, by adding up a gigabyte."""
    block = torch.ones(1 << 28)
    return block.nbytes / min(timed(block.sum, 5)) / 1000


def choices(rounds: int) -> list[Claim]:
    """For each layer and density the chosen kernel's time by the fastest kernel's."""
    ratios, worst = [], ("", 0.0)
    for words, container, pixels, code in _layers():
        names = [None, *_kernels(code)]
        sides = [_Forced(container, pixels, name) for name in names]
        sides = [side for side in sides if side.kernel in (side.wanted, sides[0].kernel)]
        times = [min(medians) for medians in take_turns(sides, rounds, 20)]
        ratio = times[0] / min(times)
        fastest = sides[times.index(min(times))].kernel
        ratios.append(ratio)
        if ratio > worst[1]:
            worst = (f"{words}: {sides[0].kernel}, best {fastest}", ratio)
    against = f"the best kernel; worst {worst[1]:.2f}x, {worst[0]}"
    return [at_most("chosen kernel by the best one", ratios, 1.1, "x", against)]


def _layers() -> Iterator[tuple[str, bytes, NDArray[np.uint8], int]]:
    rng = np.random.default_rng(0)
    for density in DENSITIES:
        for channels, side, out, kernel in CONVOLUTIONS:
            attrs = {
                "out_channels": out,
                "kernel": (kernel, kernel),
                "stride": (1, 1),
                "padding": (kernel // 2, kernel // 2),
                "dilation": (1, 1),
                "groups": 1,
                "bias": 1,
            }
            ops = (
                Op("conv", "conv", (0,), attrs),
                Op("global_avg_pool", "", (1,)),
                Op("flatten", "", (2,)),
            )
            shape = (out, channels, kernel, kernel)
            words = f"conv {channels}x{side}x{side} to {out}, {kernel}x{kernel}, {density} %"
            yield words, *_layer("conv", shape, density, (channels, side, side), ops, rng), _CONV
        for cols, rows in FULLY_CONNECTED:
            attrs = {"out_features": rows, "bias": 1}
            ops = (Op("flatten", "", (0,)), Op("fc", "fc", (1,), attrs))
            words = f"fc {cols} to {rows}, {density} %"
            yield words, *_layer("fc", (rows, cols), density, (cols, 1, 1), ops, rng), _FC


def _layer(
    name: str,
    shape: tuple[int, ...],
    density: int,
    input_shape: tuple[int, int, int],
    ops: tuple[Op, ...],
    rng: np.random.Generator,
) -> tuple[bytes, NDArray[np.uint8]]:
    empty = {f"{name}.weight": np.empty(shape, np.float32), f"{name}.bias": np.empty(shape[0])}
    tensors = compressed(empty, (density,), (8, 5), rng)
    container = encode_container(Graph(input_shape, SCALE, ops), tensors)
    return container, rng.integers(1, 256, (1, *input_shape), dtype=np.uint8)


def _kernels(code: int) -> list[str]:
    function = library.library().sigdca_testing_kernel_name
    function.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32)
    function.restype = ctypes.c_char_p
    isa = library.library().sigdca_isa_name(0)
    names: list[str] = []
    while (name := function(isa, code, len(names))) is not None:
        names.append(name.decode())
    return names


class _Forced(Session):
    """A session whose layers take one kernel where that can compute them."""

    def __init__(self, container: bytes, pixels: NDArray[np.uint8], kernel: str | None) -> None:
        self.wanted = kernel
        super().__init__(Model(container), profile="fast")
        self.kernel = self.layers()[0].kernel
        self.name = kernel or "chosen"
        logits = np.empty((1, self.model.info.num_classes), np.float32)
        self._call = self.bind(pixels, logits)

    def _create(self, model, options, handle, error) -> int:
        if self.wanted is None:
            return super()._create(model, options, handle, error)
        function = library.library().sigdca_testing_session_create
        arguments = (ctypes.byref(options), self.wanted.encode())
        return function(model.handle, *arguments, ctypes.byref(handle), ctypes.byref(error))

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """See `Side`."""
        return timed(self._call, repeats, warm_up)
