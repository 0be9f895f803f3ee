"""A network as ncnn's text graph (.param) and raw weights (.bin)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import Graph, Op, infer_shapes

_FLOAT32 = np.uint32(0).tobytes()  # the tag before weights that are plain float32


def write_ncnn(base: Path, graph: Graph, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes `<base>.param` and `<base>.bin`. Its input is scaled already; one image, no batch."""
    shapes = infer_shapes(graph)
    lines, weights = ["Input input 0 1 input"], []
    for index, op in enumerate(graph.ops):
        names = [_blob(value, len(graph.ops)) for value in op.inputs]
        kind, settings = _layer(op, shapes[op.inputs[0]])
        blobs = " ".join([*names, _blob(index + 1, len(graph.ops))])
        lines.append(f"{kind} op{index} {len(names)} 1 {blobs} {settings}")
        if op.name:
            weights += [_FLOAT32, tensors[f"{op.name}.weight"].tobytes()]
            weights.append(tensors[f"{op.name}.bias"].tobytes())
    head = f"7767517\n{len(lines)} {len(lines)}\n"
    base.with_name(f"{base.name}.param").write_text(head + "\n".join(lines) + "\n")
    base.with_name(f"{base.name}.bin").write_bytes(b"".join(weights))


def _blob(value: int, last: int) -> str:
    return {0: "input", last: "output"}.get(value, f"v{value}")


def _layer(op: Op, taken: tuple[int, ...]) -> tuple[str, str]:
    attrs = op.attrs
    if op.kind == "conv":
        kernel, stride, padding = attrs["kernel"], attrs["stride"], attrs["padding"]
        num_weights = attrs["out_channels"] * taken[0] * math.prod(kernel)
        return "Convolution", (
            f"0={attrs['out_channels']} 1={kernel[1]} 11={kernel[0]} 3={stride[1]} 13={stride[0]} "
            f"4={padding[1]} 14={padding[0]} 5=1 6={num_weights}"
        )
    if op.kind == "fc":
        return (
            "InnerProduct",
            f"0={attrs['out_features']} 1=1 2={attrs['out_features'] * taken[0]}",
        )
    if op.kind == "max_pool":
        kernel, stride = attrs["kernel"], attrs["stride"]
        mode = 0 if attrs["ceil"] else 1  # 1: a last window that does not fit is left out
        return "Pooling", f"0=0 1={kernel[1]} 11={kernel[0]} 2={stride[1]} 12={stride[0]} 5={mode}"
    simple = {"relu": ("ReLU", ""), "flatten": ("Flatten", "")}
    return simple[op.kind]
