"""What runs a library from Python on the target itself: a process, images in, logits out.

    python -m sigdca.edge.runner MODEL IMAGES.npy OUT_DIR [--engine E] [--threads N] [--emulated]

Needs numpy and the engine: ONNX Runtime, OpenVINO or TensorRT's trtexec. Writes `logits.npy` and
then `result.json`, each whole or not at all.

Inside a user-mode emulator the files under /proc and /sys are the host's, so nothing is read from
them, and times mean nothing, so none are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.latency import Runs, median_latency_us
from sigdca.errors import FormatError, SigdcaError, StorageError


class Opened(Runs, Protocol):
    """An engine with a model, which says its version."""

    version: str


def _onnxruntime(model: str, threads: int, shape: Sequence[int]) -> Opened:
    from sigdca.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, threads)


def _openvino(model: str, threads: int, shape: Sequence[int]) -> Opened:
    from sigdca.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(model, threads)


def _tensorrt(model: str, threads: int, shape: Sequence[int]) -> Opened:
    from sigdca.engines.tensorrt import TensorRtEngine

    return TensorRtEngine(Path(model).read_bytes(), shape)


def _tensorrt_fp16(model: str, threads: int, shape: Sequence[int]) -> Opened:
    from sigdca.engines.tensorrt import TensorRtEngine

    return TensorRtEngine(Path(model).read_bytes(), shape, fp16=True)


ENGINES: dict[str, Callable[[str, int, Sequence[int]], Opened]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "tensorrt-fp16": _tensorrt_fp16,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0 done, 2 bad input, 3 a fault."""
    parser = argparse.ArgumentParser(prog="sigdca.edge.runner", description=__doc__)
    parser.add_argument("model", help="ONNX file, or OpenVINO's two files as one")
    parser.add_argument("images", help="uint8 [n, C, H, W] as .npy")
    parser.add_argument("out", help="folder for logits.npy and result.json")
    parser.add_argument("--engine", choices=ENGINES, default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--emulated", action="store_true", help="take no times")
    options = parser.parse_args(arguments)
    try:
        files = options.model, options.images, options.out
        run(*files, options.threads, options.emulated, options.engine)
    except SigdcaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def run(
    model: str,
    images: str,
    out: str,
    threads: int,
    emulated: bool,
    name: str = "onnxruntime",
) -> None:
    """Runs the model over the images and writes the results.

    Args:
        model: path of the model.
        images: path of the `.npy` file, uint8 [n, C, H, W].
        out: an existing folder.
        threads: on how many threads an operator computes.
        emulated: whether this process runs in an emulator.
        name: of `ENGINES`.

    Raises:
        FormatError: the images are not what they must be.
        EngineError: the engine refuses the model, or gave something else than logits.
        StorageError: the results cannot be written.
    """
    pixels = read_images(images)
    engine = ENGINES[name](model, threads, pixels.shape[1:])
    logits = engine.logits(pixels)
    # It has seen all images before: it is warm.
    latency_us = None if emulated else median_latency_us(engine, pixels)
    result: dict[str, Any] = {
        "engine": f"{name} {engine.version}",
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "simd": _simd(),
        "threads": threads,
        "emulated": emulated,
        "num_samples": len(logits),
        "latency_us": latency_us,
    }
    folder = Path(out)
    _write(folder / "logits.npy", lambda file: np.save(file, logits, allow_pickle=False))
    text = json.dumps(result, indent=1).encode()
    _write(folder / "result.json", lambda file: file.write(text))


def read_images(path: str) -> NDArray[np.uint8]:
    """Images from a `.npy` file that nobody vouches for.

    Mapping the file compares the header's promise with the file's size before anything is
    allocated. Object arrays, which would execute code, cannot be mapped.

    Raises:
        FormatError: the file cannot be read or does not hold uint8 [n >= 1, C, H, W].
    """
    try:
        images: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy's parser lets through whatever the file provokes
        reason = str(error).partition("\n")[0][:200]
        raise FormatError(f"{path}: not a .npy file of images: {reason}") from error
    if images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} {list(images.shape)}"
        raise FormatError(f"{path}: images must be uint8 [n, C, H, W], got {got}")
    if len(images) == 0:
        raise FormatError(f"{path}: holds no images")
    return images


def _simd() -> list[str]:
    """The vector extensions that numpy found by CPUID, which an emulator answers itself."""
    try:
        config: Any = np.show_config(mode="dicts")
        extensions = config["SIMD Extensions"]
        return [*extensions.get("baseline", []), *extensions.get("found", [])]
    except (TypeError, KeyError):  # numpy before 1.25 says it on standard output only
        return []


def _write(path: Path, write: Callable[[Any], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot write: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
