"""How long a container would take on a target that is not at hand, with a band of error.

From what such a board has measured of the kernels, if it is calibrated. Else from the figures of
the target's file alone: what its cores can compute and its memory deliver is never exceeded
(Williams, Waterman and Patterson, "Roofline", 2009), and small networks stay well below it, so
that band is wide. A measurement always has more weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sigdca.codec.graph import infer_shapes
from sigdca.codec.info import ContainerInfo
from sigdca.errors import TargetError
from sigdca.targets.calibration import Calibration
from sigdca.targets.spec import Cpu, Target
from sigdca.targets.work import BYTES, steps_of

# Floating-point operations that one core does in a cycle, by the widest extension that it has: a
# multiplication and an addition for each of a vector's lanes, and twice that where two such
# instructions start in a cycle.
FLOPS_PER_CYCLE = {"avx512f": 64, "avx2": 32, "asimd": 8, "sse4.2": 8}
# How far below the roofline a kernel may be. Our own on AVX-512 reach from a half (AlexNet) to a
# tenth (LeNet-300-100) of it.
MOST_BELOW = 16.0
OP_S = 0.2e-6  # to begin an operator


@dataclass(frozen=True)
class StepTime:
    """What one step of a run would take.

    Attributes:
        name: the layer's, else the operator's kind and number.
        latency_us: as in `Prediction`.
    """

    name: str
    latency_us: float


@dataclass(frozen=True)
class Prediction:
    """What a target would need, at batch 1 on one core, or on its GPU. Never a measurement.

    Attributes:
        latency_us: of a roofline the middle of the band, on a logarithmic scale.
        low_us: hardly faster; the roofline itself: no faster.
        high_us: hardly slower. A calibrated band holds nine in ten networks that it had not seen.
        energy_mj: at the power that the target may draw at the most; None where its file has none.
        method: `calibration`, or `roofline` where there is none.
        steps: what the latency is made of.
    """

    latency_us: float
    low_us: float
    high_us: float
    energy_mj: float | None
    method: str = "roofline"
    steps: tuple[StepTime, ...] = ()


def predict(
    target: Target, info: ContainerInfo, calibration: Calibration | None = None
) -> Prediction:
    """Predicts a container's latency on a target.

    Args:
        target: the target.
        info: what is in the container. The native engine skips zeros; others do not.
        calibration: what such a board has measured; without it, the roofline.

    Raises:
        TargetError: the calibration is another target's.
    """
    if calibration is None:
        return _by_roofline(target, info)
    if calibration.target != target.name:
        raise TargetError(
            f"target '{target.name}': the calibration is of '{calibration.target}'; "
            f"make one on the board: sigdca targets calibrate {target.name} -o FILE"
        )
    steps = []
    for step in steps_of(info, calibration.isa, calibration.cache_bytes):
        took = calibration.time_us(step)
        if took is None:
            raise TargetError(
                f"target '{target.name}': its calibration says nothing of '{step.family}'; "
                "make a new one, of all networks"
            )
        steps.append(StepTime(step.name, took))
    total = sum(step.latency_us for step in steps)
    low, high = (total * share for share in calibration.band)
    return Prediction(total, low, high, _energy(target, total), "calibration", tuple(steps))


def _by_roofline(target: Target, info: ContainerInfo) -> Prediction:
    work, num_values = _work(info, skips_zeros=target.engine == "native")
    seconds = {name: count / _flops(target) + OP_S for name, count in work}
    total = sum(seconds.values())
    num_bytes = (info.container_bytes + BYTES * num_values) / _per_float(target)
    cache = max(cpu.l2_bytes.value for cpu in target.cpu)
    bandwidth = target.memory.bandwidth_bytes_per_s
    bound = total
    if num_bytes > cache and bandwidth is not None:
        bound = max(total, num_bytes / bandwidth.value)
    low, high = 1e6 * bound, 1e6 * bound * MOST_BELOW
    middle = math.sqrt(low * high)
    steps = tuple(StepTime(name, middle * each / total) for name, each in seconds.items())
    return Prediction(middle, low, high, _energy(target, middle), "roofline", steps)


def _energy(target: Target, latency_us: float) -> float | None:
    power = target.power
    return None if power is None else power.max_mw.value * latency_us * 1e-6


def _work(info: ContainerInfo, skips_zeros: bool) -> tuple[list[tuple[str, float]], int]:
    """Floating-point operations of one image by operator, and values that pass between them."""
    shapes = infer_shapes(info.graph)
    weights = {layer.name: layer for layer in info.layers}
    work, num_values = [], 0
    for number, (op, shape) in enumerate(zip(info.graph.ops, shapes[1:], strict=True)):
        num_values += math.prod(shape)
        count = float(math.prod(shape))
        layer = weights.get(op.name)
        if layer is not None:
            used = layer.num_nonzero if skips_zeros else layer.num_weights
            # A convolution uses each of its weights at every place of its output.
            count = 2.0 * used * (math.prod(shape[1:]) if len(shape) == 3 else 1)
        work.append((op.name or f"{op.kind} {number}", count))
    return work, num_values


def _flops(target: Target) -> float:
    """What one core, or the GPU, does in a second at the most."""
    if target.engine.startswith("tensorrt") and target.gpu is not None:
        cycles = 1e6 * float(target.gpu.num_cores.value) * float(target.gpu.clock_mhz.value)
        return 2 * cycles * _per_float(target)
    return max(_core_flops(cpu) for cpu in target.cpu)


def _per_float(target: Target) -> int:
    """Of its numbers, how many take the time and the bytes of a float32: of halves two."""
    return 2 if target.engine == "tensorrt-fp16" else 1


def _core_flops(cpu: Cpu) -> float:
    width = max((FLOPS_PER_CYCLE.get(name, 2) for name in cpu.isa), default=2)
    clock = cpu.boost_mhz or cpu.clock_mhz
    return 1e6 * width * float(clock.value)
