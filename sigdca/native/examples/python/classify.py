"""Classifies one image straight from a container, through sigdca's own engine.

    python classify.py MODEL.dca IMAGES [NUMBER]

IMAGES is an idx file (MNIST's), a .npy file of uint8, or raw pixels; NUMBER counts from 0.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.errors import SigdcaError
from sigdca.native import Model, Session


def read_pixels(path: str) -> NDArray[np.uint8]:
    """The pixels, without the header of an idx or .npy file."""
    data = Path(path).read_bytes()
    if data[:3] == b"\0\0\x08":
        data = data[4 + 4 * data[3] :]
    elif data[:6] == b"\x93NUMPY":
        data = np.load(path, allow_pickle=False).tobytes()
    return np.frombuffer(data, np.uint8)


def main(model_path: str, images_path: str, number: str = "0") -> None:
    """Prints the class and the time of a run."""
    session = Session(Model(model_path), profile="fast")
    shape = session.model.info.input_shape
    pixels = read_pixels(images_path)
    images = pixels[: pixels.size // np.prod(shape) * np.prod(shape)].reshape(-1, *shape)
    logits = session.run(images[int(number) : int(number) + 1])  # the first touches all memory
    start = time.perf_counter()
    logits = session.run(images[int(number) : int(number) + 1])[0]
    end = time.perf_counter()
    best = logits.argmax()
    print(f"class {best}, logit {logits[best]:.6f}, {1e6 * (end - start):.1f} us")


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit("usage: classify.py MODEL.dca IMAGES [NUMBER]")
    try:
        main(*sys.argv[1:])
    except (SigdcaError, OSError, ValueError, IndexError) as error:
        print(f"classify: {error}", file=sys.stderr)
        sys.exit(2)
