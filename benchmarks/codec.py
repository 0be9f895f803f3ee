"""The claims of the codec: size at full scale, speed against NNCodec, size at an error.

`python benchmarks/codec.py [--quick] [--json]`. AlexNet and VGG-16 have Deep Compression's
densities and bits, torchvision's ImageNet convolutions, and random FC layers; a claim of size is
the whole file. Against NNCodec both sides code the same weights, on a grid, without loss, on one
thread of the same processor, in turns. Sizes at an error are jobs of `jobs/`, whole runs at seeds
0 to 2; `--quick` leaves them out, and VGG-16. `--vgg`: VGG-16 on CIFAR-10 instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, at_least, at_most, main, seen
from imagenet_convs import imagenet_convs
from loop import run_job
from numpy.typing import NDArray
from paper_networks import BITS, DENSITIES, SHAPES, compressed
from peers import environment
from size_error import note_points

from sigdca.codec.graph_bytes import put_graph
from sigdca.models import build, trace

HERE = Path(__file__).resolve().parent
PAPER_BYTES = {"alexnet": 6_900_000, "vgg-16": 11_300_000}
TITLES = {"alexnet": "AlexNet", "vgg-16": "VGG-16"}
QP, STEP = -24, 2.0**-6  # NNCodec's step at that QP
MEGABYTE = 1e6
DEEP_COMPRESSION = "Deep Compression"
OWN = "this project's own bound"
RUNS = HERE.parent / ".cache" / "codec"

Weights = Mapping[str, NDArray[np.float32]]
Figures = dict[str, Any]


class Network:
    """A network on disk, for workers to code."""

    def __init__(self, name: str, seed: int, folder: Path, *, on_grid: bool = False) -> None:
        model = build(name)
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        graph = trace(model, SHAPES[name], 1 / 256)
        rng = np.random.default_rng(seed)
        weights = compressed(state, DENSITIES[name], BITS[name], rng, imagenet_convs(name))
        if on_grid:
            weights = {key: _to_grid(value) for key, value in weights.items()}
        self.dense_bytes = sum(value.nbytes for value in weights.values())
        self.stem = folder / f"{name}-{seed}{'-grid' if on_grid else ''}"
        self.stem.with_suffix(".graph").write_bytes(put_graph(graph))
        np.savez(self.stem.with_suffix(".npz"), **weights)

    def code(self, coder: str, threads: int) -> tuple[Figures, Figures]:
        """What it takes to encode, and to decode."""
        paths = [self.stem.with_suffix(suffix) for suffix in (".graph", ".npz", f".{coder}.dca")]
        command = [sys.executable, str(HERE / "codec_worker.py"), *map(str, paths)]
        return run([*command, coder], threads), run(command, threads)

    def weights_file(self) -> Path:
        """Its weights without biases, all that NNCodec is given."""
        path = self.stem.with_suffix(".weights.npz")
        with np.load(self.stem.with_suffix(".npz")) as file:
            names = [name for name in file.files if name.endswith(".weight")]
            np.savez(path, **{name: file[name] for name in names})
        return path


def run(command: list[str], threads: int) -> Figures:
    """Runs a worker on as many processors; gives what it prints."""
    processors = sorted(os.sched_getaffinity(0))[:threads]
    variables = {"SIGDCA_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:  # NNCodec leaves a file where it runs
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}"
        )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def scale_claims(name: str, seeds: range, folder: Path) -> list[Claim]:
    """Bytes, exactness, time on two processors, and memory."""
    found: dict[str, list[tuple[Figures, Figures]]] = {"arithmetic": [], "rans": []}
    for seed in seeds:
        network = Network(name, seed, folder)
        for coder, rounds in found.items():
            rounds.append(network.code(coder, threads=2))
    title, claims = f"{TITLES[name]}-shaped", []
    for coder, rounds in found.items():
        sizes = [encoded["bytes"] for encoded, _ in rounds]
        against = f"{DEEP_COMPRESSION}, trained"
        claims += [
            at_most(f"{title}, {coder}: container", sizes, PAPER_BYTES[name], "bytes", against),
            at_least(
                f"{title}, {coder}: weights decoded bit for bit",
                [int(decoded["same"]) for _, decoded in rounds],
                1,
                "share",
                every=True,
            ),
        ]
        if name == "vgg-16":
            peaks = [max(a["peak_bytes"], b["peak_bytes"]) / MEGABYTE for a, b in rounds]
            claims += [
                at_most(f"{title}, {coder}: encode", [a["s"] for a, _ in rounds], 30, "s"),
                at_most(f"{title}, {coder}: decode", [b["s"] for _, b in rounds], 3, "s"),
                at_most(f"{title}, {coder}: most memory", peaks, 2000, "MB"),
            ]
    return claims


def nncodec_claims(rounds: int, folder: Path) -> list[Claim]:
    """Bytes and speed of both coders against NNCodec's, taken within each round."""
    network = Network("alexnet", 0, folder, on_grid=True)
    python, weights = environment("nncodec"), network.weights_file()
    command = [str(python), str(HERE / "peers" / "nncodec_worker.py"), str(weights), str(QP)]
    ours: dict[str, list[tuple[Figures, Figures]]] = {"rans": [], "arithmetic": []}
    theirs: list[Figures] = []
    for _ in range(rounds):
        for coder, figures in ours.items():
            figures.append(network.code(coder, threads=1))
        theirs.append(run(command, threads=1))
        print(f"nncodec: {theirs[-1]}", file=sys.stderr, flush=True)
    claims = []
    size = network.dense_bytes / MEGABYTE
    for coder, bound in (("rans", 10), ("arithmetic", 3)):
        encoded, decoded = zip(*ours[coder], strict=True)
        title = f"AlexNet-shaped, {coder}"
        claims.append(
            at_most(
                f"{title}: bytes, by NNCodec's",
                [a["bytes"] / b["bytes"] for a, b in zip(encoded, theirs, strict=True)],
                1,
                "ratio",
                "NNCodec 2.1.3",
            )
        )
        for what, figures in (("encode", encoded), ("decode", decoded)):
            for of, part in (("", lambda b: b), (", its coder alone", lambda b: b["coder"])):
                ratios = [
                    part(b)[f"{what}_s"] / a["s"] for a, b in zip(figures, theirs, strict=True)
                ]
                name = f"{title}: {what}, as fast as NNCodec{of}"
                claims.append(at_least(name, ratios, bound, "ratio", "NNCodec 2.1.3"))
            speeds = [size / a["s"] for a in figures]
            name = f"{title}: {what}"
            claims.append(at_least(name, speeds, 0, "MB of float32 a second"))
    return claims


def job_claims(job: str, title: str, goals: Sequence[tuple[float, int, str]]) -> list[Claim]:
    """Bytes and error of a job at seeds 0 to 2, which are noted for the plot of both.

    Args:
        job: its file.
        title: the network.
        goals: each an error that the median must not exceed, the bytes likewise, and whose.
    """
    sizes, errors = [], []
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            options = ("--set", f"seed={seed}", "--set", "targets=[]", "--set", "budget={}")
            report, _ = run_job(job, Path(folder), *options)
        sizes.append(report["best"]["container_bytes"])
        errors.append(report["best"]["error"])
    note_points(f"{title}, small", sizes, errors)
    claims = []
    for max_error, max_bytes, against in goals:
        at = f"{title} at {max_error:.2f} %"
        claims += [
            at_most(f"{at}: container", sizes, max_bytes, "bytes", against),
            at_most(f"{at}: test error", errors, max_error, "%", against),
        ]
    return claims


def small_claims() -> list[Claim]:
    """The smallest files: LeNets, three runs each."""
    epr = "Oktay et al., ICLR 2020"
    goals_300 = ((1.64, 16_000, f"{DEEP_COMPRESSION}'s network before"), (1.90, 8_200, epr))
    goals_5 = ((0.74, 9_000, DEEP_COMPRESSION), (0.96, 2_800, epr))
    return [
        *job_claims("jobs/lenet-300-100-mnist-small.yaml", "LeNet-300-100", goals_300),
        *job_claims("jobs/lenet-5-mnist-small.yaml", "LeNet-5", goals_5),
    ]


def measure_vgg(quick: bool) -> list[Claim]:
    """Only VGG-16 on CIFAR-10 (two hours a seed; quick: one), going on where it was stopped."""
    sizes, errors, ratios, drops = [], [], [], []
    for seed in range(1 if quick else 3):
        options = ("--set", f"seed={seed}", "--set", "targets=[]", "--set", "budget={}")
        name = ("--set", f"name=vgg-16-cifar10-{seed}", "--resume")
        report, _ = run_job("jobs/vgg-16-cifar10.yaml", RUNS, *options, *name)
        best = report["best"]
        sizes.append(best["container_bytes"])
        errors.append(best["error"])
        ratios.append(best["compression_ratio"])
        drops.append(best["accuracy_drop"])
    if not quick:
        note_points("VGG-16, CIFAR-10, small", sizes, errors)
    name = "VGG-16, CIFAR-10"
    return [
        at_least(f"{name}: as small as before by", ratios, 300, "x", OWN, every=True),
        at_most(f"{name}: points of accuracy lost", drops, 1, "points", OWN, every=True),
        seen(f"{name}: container", sizes, "bytes"),
        seen(f"{name}: test error", errors, "%"),
    ]


def measure(quick: bool) -> list[Claim]:
    """All claims; `quick` leaves out VGG-16 and the training of networks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        claims = nncodec_claims(3 if quick else 7, folder)
        claims += scale_claims("alexnet", range(3), folder)
        if not quick:
            claims += scale_claims("vgg-16", range(3), folder)
    return claims if quick else claims + small_claims()


def _to_grid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evenly spaced values as multiples of the step; biases as nothing."""
    if values.ndim == 1:
        return np.zeros_like(values)
    distinct = np.unique(values[values != 0])
    spacing = float(np.diff(distinct).min())
    return (np.rint(values / np.float32(spacing)) * np.float32(STEP)).astype(np.float32)


if __name__ == "__main__":
    main(__doc__, measure, vgg=measure_vgg)
