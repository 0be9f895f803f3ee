"""Shifted data: a board meets digits that its LeNet-5 was not trained on, and is tuned on them.

The network is compressed by `jobs/lenet-5-mnist.yaml`, cut short. The board sees shifted digits
of MNIST's training images, and keeps those that it is least certain of (`sigdca edge acquire`),
whose labels become known; it trains on them (`edge train`). What it sends is the delta; `edge
apply` makes what is tested, on shifted digits of the test images.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from claims import Claim, at_most, seen
from numpy.typing import NDArray

from sigdca.data import Dataset, load
from sigdca.data.manifest import FILE_NAME, Manifest, dump_manifest
from sigdca.data.shards import dump_shard

ROOT = Path(__file__).resolve().parent.parent
SIGDCA = [sys.executable, "-m", "sigdca"]
NUM_FRAMES = 5000  # that the board sees; it keeps a fifth of them
SHARE = 0.2
# Degrees, a few more or less for each digit; standard deviation of the pixels' noise, of 255.
SHIFTS = {"turned by 25 to 35 degrees": (30.0, 0.0), "in noise": (0.0, 100.0)}
SPREAD = 5.0
CUT_SHORT = [
    *("data.limit=20000", "train.epochs=6", "train.accuracy_at_least=null", "budget={}"),
    *("compress.recipe.0.prune.epochs=6", "compress.recipe.1.share.epochs=1"),
]


def shifted_claims(cache: Path, seeds: Sequence[int], against: str) -> list[Claim]:
    """Errors before and after, and what was sent, for each kind of shift."""
    model = trained_lenet_5(cache)
    claims = []
    for what, (degrees, noise) in SHIFTS.items():
        found = [tuned(model, degrees, noise, seed) for seed in seeds]
        claims += [
            at_most(
                f"digits {what}: error after the train leg / before",
                [one["after"] / one["before"] for one in found],
                0.5,
                "",
                against,
            ),
            at_most(
                f"digits {what}: sent upstream",
                [one["sent"] for one in found],
                8192,
                "bytes",
                against,
            ),
            seen(f"digits {what}: samples kept", [one["samples"] for one in found], ""),
            seen(f"digits {what}: error before", [one["before"] for one in found], "%"),
            seen(f"digits {what}: error after", [one["after"] for one in found], "%"),
            seen(f"digits {what}: the container grew by", [one["grew"] for one in found], "bytes"),
            seen(f"digits {what}: error on upright ones", [one["upright"] for one in found], "%"),
            seen(f"digits {what}: train leg", [one["duration_s"] for one in found], "s"),
            seen(f"digits {what}: its memory", [one["peak_bytes"] / 1e6 for one in found], "MB"),
        ]
    return claims


def trained_lenet_5(cache: Path) -> Path:
    """The compressed network, made once."""
    path = cache / "trained" / "lenet-5-mnist" / "model.dca"
    if not path.is_file():
        sigdca(
            "compress",
            "jobs/lenet-5-mnist.yaml",
            *set_options([*CUT_SHORT, f"storage={cache}/trained"]),
        )
    return path


def shifted(
    images: NDArray[np.uint8], degrees: float, noise: float, seed: int
) -> NDArray[np.uint8]:
    """Each image turned by its own angle, then with noise.

    Args:
        images: uint8 [n, C, H, W].
        degrees: how far; each image by up to `SPREAD` more or less. 0: not at all.
        noise: standard deviation, in units of a pixel.
        seed: of angles and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.from_numpy(images.astype(np.float32))
    if degrees:
        spread = (2 * torch.rand(len(images), generator=generator) - 1) * SPREAD
        angle = (degrees + spread) * math.pi / 180
        cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros(len(images))
        rows = [torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)]
        grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
        pixels = F.grid_sample(pixels, grid, align_corners=False)
    pixels = pixels + noise * torch.randn(pixels.shape, generator=generator)
    return pixels.round().clamp(0, 255).to(torch.uint8).numpy()


def tuned(
    model: Path, degrees: float, noise: float, seed: int, by_chance: bool = False
) -> dict[str, float]:
    """One board: the samples that it kept, its train leg, and the error of what came of it.

    Args:
        model: the container.
        degrees: how far the digits are turned; 0: not at all.
        noise: standard deviation, in units of a pixel.
        seed: of what the board meets.
        by_chance: it keeps every frame of a random fifth, instead of the least certain fifth.
    """
    known, unseen = load("mnist", "train"), load("mnist", "test")
    met = np.random.default_rng(seed).permutation(len(known))[:NUM_FRAMES]
    if by_chance:
        met = met[: int(SHARE * NUM_FRAMES)]
    with tempfile.TemporaryDirectory() as name:
        frames, store, server = Path(name, "frames"), Path(name, "store"), Path(name, "server")
        images = shifted(known.images[met], degrees, noise, 2 * seed)
        write_classes(frames, images, known.labels[met])
        images = shifted(unseen.images, degrees, noise, 2 * seed + 1)
        write_test(server, Dataset(images, unseen.labels))
        delta, tuned = f"{name}/delta.dcd", f"{name}/tuned.dca"
        share = 1 if by_chance else SHARE
        seen_here = ("--frames", frames, "--labelled", "--store", store, "--private")
        acquired = sigdca("edge", "acquire", model, *seen_here, "--margin", 1, "--share", share)
        leg = sigdca("edge", "train", model, "--data", store, "-o", delta, "--seed", seed)
        sigdca("edge", "apply", model, delta, "-o", tuned)
        found = {
            "before": sigdca("test", model, "--data", server)["error"],
            "after": sigdca("test", tuned, "--data", server)["error"],
            "upright": sigdca("test", tuned, "--data", "mnist")["error"],
            "samples": acquired["store"]["labelled"],
            "sent": Path(delta).stat().st_size,
            "grew": Path(tuned).stat().st_size - model.stat().st_size,
            "duration_s": leg["duration_s"],
            "peak_bytes": leg["peak_bytes"],
        }
    print(
        f"{degrees:g} degrees, noise {noise:g}, seed {seed}: {found}", file=sys.stderr, flush=True
    )
    return found


def sigdca(*words: object, as_json: bool = True) -> dict[str, Any]:
    """What a command printed, if it is asked for JSON."""
    command = [*SIGDCA, *map(str, words), *(["--json"] if as_json else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout) if as_json else {}
    return told


def set_options(settings: Sequence[str]) -> list[str]:
    """The words of a command that set them."""
    return [word for setting in settings for word in ("--set", setting)]


def write_classes(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.integer]) -> None:
    """A folder for each class, a picture for each image."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number:05d}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"P5 28 28 255\n" + image.tobytes())


def write_test(folder: Path, dataset: Dataset) -> None:
    """A data set that has a test split alone."""
    content = dump_shard(dataset)
    (folder / "test").mkdir(parents=True)
    (folder / "test/part-00000.parquet").write_bytes(content)
    shard = {
        "name": "test/part-00000.parquet",
        "num_images": len(dataset),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    manifest = {
        "version": 1,
        "name": "shifted",
        "classes": [str(digit) for digit in range(10)],
        "input_shape": [1, 28, 28],
        "input_scale": 1 / 256,
        "splits": {"test": {"num_images": len(dataset), "shards": [shard]}},
    }
    (folder / FILE_NAME).write_bytes(dump_manifest(Manifest.model_validate(manifest)))
