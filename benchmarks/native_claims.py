"""The claims of benchmarks/native.py, by what the issue of each is."""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from claims import Claim, at_most
from native_sides import CSide, NativeSide, images, network, open_peers, take_turns
from paper_networks import SHAPES

from sigdca.codec import read_container
from sigdca.engines import compare, open_engine
from sigdca.native import Model, Session

DENSE_FLOAT32 = ("litert", "ncnn", "onnxruntime", "openvino", "torch")
FLOAT32 = (*DENSE_FLOAT32, "deepsparse")
INT8_AVX512 = ("litert-int8-avx512",)
INT8 = ("litert-int8", *INT8_AVX512)  # AMX makes it slower on LeNet-5
FUZZ_RESULTS = Path(__file__).with_name("fuzz-results.json")
FUZZ_EXECUTIONS, FUZZ_SECONDS = 10_000_000, 3600


@dataclass(frozen=True)
class Ratio:
    """A bound on sigdca's time as a multiple of the strongest of some peers'.

    Attributes:
        network: a paper's.
        profile: sigdca's.
        peers: the fastest of them, by its median, is what counts.
        bound: of the ratio.
        isa: that sigdca must use; empty: the best there is. The peers use all that there is,
            those named `-avx512` all but AMX.
        batch: images a call.
        threads: of both sides.
        quick: whether it is a part of a quick run.
    """

    network: str
    profile: str
    peers: tuple[str, ...]
    bound: float
    isa: str = ""
    batch: int = 1
    threads: int = 1
    quick: bool = True


RATIOS = (
    Ratio("lenet-300-100", "fast", INT8, 0.5),
    Ratio("lenet-300-100", "int8", INT8, 0.5),
    Ratio("lenet-5", "fast", INT8, 0.6),
    Ratio("lenet-5", "int8", INT8, 0.6),
    Ratio("alexnet", "fast", FLOAT32, 0.6),
    Ratio("alexnet", "int8", INT8, 1.0),
    Ratio("vgg-16", "fast", FLOAT32, 0.6, quick=False),
    Ratio("vgg-16", "int8", INT8, 1.0, quick=False),
    Ratio("lenet-300-100", "fast", INT8, 0.5, threads=2),
    Ratio("lenet-300-100", "int8", INT8, 0.5, threads=2),
    Ratio("lenet-5", "fast", INT8, 0.6, threads=2),
    Ratio("lenet-5", "int8", INT8, 0.6, threads=2),
    Ratio("alexnet", "fast", FLOAT32, 0.6, threads=2, quick=False),
    Ratio("alexnet", "int8", INT8, 1.0, threads=2, quick=False),
    Ratio("vgg-16", "fast", FLOAT32, 0.6, threads=2, quick=False),
    Ratio("vgg-16", "int8", INT8, 1.0, threads=2, quick=False),
    Ratio("lenet-300-100", "fast", INT8_AVX512, 1.2, isa="sse4.2"),
    Ratio("lenet-5", "fast", INT8_AVX512, 1.8, isa="sse4.2"),
    Ratio("alexnet", "int8", INT8_AVX512, 2.8, isa="sse4.2"),
    Ratio("vgg-16", "fast", ("ncnn",), 1.75, isa="sse4.2", quick=False),
    Ratio("lenet-300-100", "fast", DENSE_FLOAT32, 1.0, batch=64),
    Ratio("lenet-300-100", "int8", INT8, 1.0, batch=64),
    Ratio("lenet-5", "fast", DENSE_FLOAT32, 1.0, batch=64),
    Ratio("lenet-5", "int8", INT8, 1.0, batch=64),
    Ratio("alexnet", "fast", DENSE_FLOAT32, 1.0, batch=64, quick=False),
    Ratio("alexnet", "int8", INT8, 1.0, batch=64, quick=False),
    Ratio("vgg-16", "fast", ("onnxruntime", "openvino"), 1.0, batch=64, quick=False),
    Ratio("vgg-16", "int8", INT8, 1.0, batch=64, quick=False),
)


def ratio_claims(quick: bool) -> list[Claim]:
    """Sigdca's time by the strongest peer's, from Python and, at batch 1, from C."""
    claims = []
    for ratio in RATIOS:
        if ratio.quick or not quick:
            claims += _ratio(ratio, quick)
            print(claims[-1], file=sys.stderr)  # a full run takes half an hour
    return claims


def _ratio(ratio: Ratio, quick: bool) -> list[Claim]:
    pixels, container = images(ratio.network, ratio.batch), network(ratio.network)[0]
    how = (container, pixels, ratio.profile, ratio.isa, ratio.threads)
    rounds, repeats = _effort(ratio, quick)
    with ExitStack() as stack:
        ours = [NativeSide(*how)] + [CSide(*how)] * (ratio.batch == 1)
        peers = open_peers(stack, ratio.peers, ratio.network, ratio.batch, ratio.threads)
        if not peers:
            return []
        times = take_turns([*ours, *peers], rounds, repeats)
    best = min(range(len(peers)), key=lambda index: statistics.median(times[len(ours) + index]))
    against = times[len(ours) + best]
    claims = []
    for side, mine in zip(ours, times, strict=False):
        ratios = [a / b for a, b in zip(mine, against, strict=True)]
        us = f"{statistics.median(mine):,.4g} us by {statistics.median(against):,.4g} us"
        claims.append(
            at_most(_name(ratio, side.name), ratios, ratio.bound, "x", f"{peers[best].name}, {us}")
        )
    return claims


def _name(ratio: Ratio, side: str) -> str:
    words = [ratio.network, f"batch {ratio.batch}", side]
    words += [ratio.isa] * bool(ratio.isa) + [f"{ratio.threads} threads"] * (ratio.threads > 1)
    return ", ".join(words)


def _effort(ratio: Ratio, quick: bool) -> tuple[int, int]:
    """Rounds, and calls in each."""
    if ratio.network.startswith("lenet"):
        return (7, 100) if quick else (21, 200 if ratio.batch == 1 else 20)
    if ratio.batch > 1:
        return 3, 1
    return (3, 2) if quick else (9, 10 if ratio.network == "alexnet" else 3)


def agreement_claims(quick: bool) -> list[Claim]:
    """Native, torch and onnxruntime compute the same."""
    claims = []
    for name in SHAPES:
        if name == "vgg-16" and quick:
            continue
        count = (1000 if quick else 10_000) if name.startswith("lenet") else 2
        pixels, container = images(name, count), network(name)[0]
        opened = read_container(container)
        native = Session(Model(container), profile="fast", max_batch=64).run(pixels)
        for engine in ("torch", "onnxruntime"):
            other = open_engine(engine, opened.graph, opened.tensors).logits(pixels)
            found = compare(native, other)
            relative = found.max_abs_difference / found.scale
            on = f"{engine}, {count} images"
            claims.append(at_most(f"{name}: largest difference", [relative], 1e-4, "x", on))
            flips = [float(found.argmax_flips)]
            claims.append(at_most(f"{name}: classes that differ", flips, 0, "images", on))
    return claims


def layer_claims(quick: bool) -> list[Claim]:
    """VGG-16's fc6 alone, by torch's dense product, and by what memory allows."""
    from native_layers import fc6

    return fc6(rounds=7 if quick else 21)


def footprint_claims(quick: bool) -> list[Claim]:
    """Memory, cold start, size of the library."""
    from native_footprint import cold_start, library_size, peak_memory

    return [*peak_memory("alexnet" if quick else "vgg-16"), cold_start(), library_size()]


def choice_claims(quick: bool) -> list[Claim]:
    """The kernel that the cost model takes, by the fastest of all that there are."""
    from native_layers import choices

    return choices(rounds=3 if quick else 9)


def fuzz_claims() -> list[Claim]:
    """What `benchmarks/fuzz.py` left."""
    if not FUZZ_RESULTS.is_file():
        return []
    found = json.loads(FUZZ_RESULTS.read_text())
    enough = found["executions"] / FUZZ_EXECUTIONS, found["seconds"] / FUZZ_SECONDS
    against = f"{found['executions']:,} executions in {found['seconds']:,.0f} s, ASan and UBSan"
    missing = max(0.0, 1 - max(enough))
    return [
        at_most("fuzzing: findings", [float(found["findings"])], 0, "", against),
        at_most("fuzzing: missing to 10 million or an hour", [missing], 0, "x", against),
    ]
