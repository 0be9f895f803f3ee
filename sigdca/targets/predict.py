"""How long a container would take on a target that is not at hand: a roofline with a wide band.

From the figures of the target's file alone: what its cores can compute and its memory deliver is
never exceeded (Williams, Waterman and Patterson, "Roofline", 2009), and small networks stay well
below it. Nothing here was ever compared with a board; a measurement always has more weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sigdca.codec.graph import infer_shapes
from sigdca.codec.info import ContainerInfo
from sigdca.targets.spec import Cpu, Target

# Floating-point operations that one core does in a cycle, by the widest extension that it has: a
# multiplication and an addition for each of a vector's lanes, and twice that where two such
# instructions start in a cycle.
FLOPS_PER_CYCLE = {"avx512f": 64, "avx2": 32, "asimd": 8, "sse4.2": 8}
# How far below the roofline a kernel may be. Our own on AVX-512 reach from a half (AlexNet) to a
# tenth (LeNet-300-100) of it.
MOST_BELOW = 16.0
OP_S = 0.2e-6  # to begin an operator
BYTES = 4  # of an activation


@dataclass(frozen=True)
class Prediction:
    """What a target would need, at batch 1 on one core, or on its GPU.

    Attributes:
        latency_us: the middle of the band, on a logarithmic scale.
        low_us: the roofline: no faster.
        high_us: hardly slower.
        energy_mj: at the power that the target may draw at the most; None where its file has none.
    """

    latency_us: float
    low_us: float
    high_us: float
    energy_mj: float | None


def predict(target: Target, info: ContainerInfo) -> Prediction:
    """Predicts a container's latency on a target.

    Args:
        target: the target.
        info: what is in the container. The native engine skips zeros; others do not.
    """
    num_operations, num_values = _work(info, skips_zeros=target.engine == "native")
    seconds = num_operations / _flops(target) + OP_S * len(info.graph.ops)
    num_bytes = info.container_bytes + BYTES * num_values
    cache = max(cpu.l2_bytes.value for cpu in target.cpu)
    bandwidth = target.memory.bandwidth_bytes_per_s
    if num_bytes > cache and bandwidth is not None:
        seconds = max(seconds, num_bytes / bandwidth.value)
    low, high = 1e6 * seconds, 1e6 * seconds * MOST_BELOW
    middle = math.sqrt(low * high)
    power = target.power
    energy = None if power is None else power.max_mw.value * middle * 1e-6
    return Prediction(middle, low, high, energy)


def _work(info: ContainerInfo, skips_zeros: bool) -> tuple[float, int]:
    """Floating-point operations of one image, and values that pass from operator to operator."""
    shapes = infer_shapes(info.graph)
    weights = {layer.name: layer for layer in info.layers}
    total, num_values = 0.0, 0
    for op, shape in zip(info.graph.ops, shapes[1:], strict=True):
        num_values += math.prod(shape)
        layer = weights.get(op.name)
        if layer is None:
            total += math.prod(shape)
            continue
        used = layer.num_nonzero if skips_zeros else layer.num_weights
        # A convolution uses each of its weights at every place of its output.
        total += 2.0 * used * (math.prod(shape[1:]) if len(shape) == 3 else 1)
    return total, num_values


def _flops(target: Target) -> float:
    """What one core, or the GPU, does in a second at the most."""
    if target.engine == "tensorrt" and target.gpu is not None:
        return 2e6 * float(target.gpu.num_cores.value) * float(target.gpu.clock_mhz.value)
    return max(_core_flops(cpu) for cpu in target.cpu)


def _core_flops(cpu: Cpu) -> float:
    width = max((FLOPS_PER_CYCLE.get(name, 2) for name in cpu.isa), default=2)
    clock = cpu.boost_mhz or cpu.clock_mhz
    return 1e6 * width * float(clock.value)
