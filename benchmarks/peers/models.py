"""One network in every peer's format, with the same weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.install import environment
from peers.ncnn_files import write_ncnn
from sigdca.codec import Graph, infer_shapes
from sigdca.engines import to_onnx

CONVERTER = Path(__file__).with_name("convert.py")


def write_models(
    name: str,
    graph: Graph,
    tensors: Mapping[str, NDArray[np.float32]],
    images: NDArray[np.uint8],
    folder: Path,
) -> Path:
    """Writes `<name>.onnx`, `.npz`, `.param` and `.bin`, `-f32.tflite`, `-int8.tflite`.

    Args:
        name: the network's.
        graph: its operators; of those that the four networks of the papers have.
        tensors: its weights.
        images: uint8 [n, C, H, W], to calibrate the int8 model with.
        folder: where to.

    Returns:
        The files' path without suffix, for `Peer`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / name
    done = folder / f"{name}.done"
    if done.is_file():
        return base
    (folder / f"{name}.onnx").write_bytes(to_onnx(graph, tensors))
    np.savez(folder / f"{name}.npz", **tensors)
    write_ncnn(base, graph, tensors)
    ops = [asdict(op) for op in graph.ops]
    frame = {"input_shape": graph.input_shape, "ops": ops, "shapes": infer_shapes(graph)}
    (folder / f"{name}.json").write_text(json.dumps(frame))
    calibration = folder / f"{name}-calibration.npy"
    np.save(calibration, images[:16].astype(np.float32) * np.float32(graph.input_scale))
    command = [str(environment("convert")), str(CONVERTER), str(base), str(calibration)]
    subprocess.run(command, check=True, capture_output=True)
    done.touch()
    return base
