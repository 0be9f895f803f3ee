"""Draws size against error, of sigdca and as published: `python benchmarks/size_error.py`.

`codec.py` notes its runs in `size-error.json`; the picture is `docs/size-error.svg`. It needs
matplotlib (`requirements-plot.txt`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
POINTS = HERE / "size-error.json"
PICTURE = HERE.parent / "docs" / "size-error.svg"


@dataclass(frozen=True)
class Published:
    """A published point.

    Attributes:
        method: whose.
        kilobytes: of the file, 1,000 bytes each.
        error: test error, percent.
    """

    method: str
    kilobytes: float
    error: float


# Whole files where the paper says so. Deep Compression: arXiv 1510.00149, tables 1, 3 and 4. SWS
# (Ullrich et al., ICLR 2017), by its ratio. EPR: Oktay et al., ICLR 2020, table 1. MIRACLE: Havasi
# et al., ICLR 2019, table 1 (KiB). LilNetX: Girish et al., ICLR 2023. CIFAR-10 figures are of
# networks that were trained for hundreds of epochs.
PUBLISHED = {
    "LeNet-300-100": (
        Published("Deep Compression", 27, 1.58),
        Published("SWS", 1066.4 / 64, 1.94),
        Published("EPR", 8.56, 1.9),
    ),
    "LeNet-5": (
        Published("Deep Compression", 44, 0.74),
        Published("MIRACLE", 3.03 * 1.024, 0.69),
        Published("MIRACLE", 1.52 * 1.024, 0.96),
        Published("EPR", 2.84, 1.0),
    ),
    "VGG-16, CIFAR-10": (
        Published("MIRACLE", 384, 6.57),
        Published("EPR", 101, 10.0),
        Published("LilNetX", 76, 10.0),
    ),
}


def note_points(title: str, sizes: Sequence[int], errors: Sequence[float]) -> None:
    """Keeps the runs of a claim, in place of earlier ones of that title.

    Args:
        title: the network's name, a comma, and what sets the runs apart.
        sizes: bytes of each run's file.
        errors: test error of each, percent.
    """
    points = json.loads(POINTS.read_text()) if POINTS.is_file() else {}
    points[title] = [[size, error] for size, error in zip(sizes, errors, strict=True)]
    POINTS.write_text(json.dumps(points, indent=1, sort_keys=True) + "\n")


def draw(points: dict[str, list[list[float]]]) -> Any:
    """The figure: a panel a network."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axes, (network, published) in zip(
        figure.subplots(1, len(PUBLISHED)), PUBLISHED.items(), strict=True
    ):
        for point in published:
            axes.plot(point.kilobytes, point.error, "o", color="#d9822b", markersize=5)
            axes.annotate(
                point.method,
                (point.kilobytes, point.error),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="#7a4a12",
            )
        medians = []
        for title, runs in points.items():
            if not title.startswith(network):
                continue
            sizes, errors = zip(*runs, strict=True)
            axes.plot([size / 1000 for size in sizes], errors, ".", color="#2f6fde", alpha=0.35)
            medians.append((statistics.median(sizes) / 1000, statistics.median(errors)))
        medians.sort()
        if medians:
            x, y = zip(*medians, strict=True)
            axes.plot(
                x, y, "D-", color="#2f6fde", markersize=6, label="sigdca, median of its runs"
            )
            axes.legend(fontsize=8, frameon=False, loc="upper left")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_title(network, fontsize=10)
        axes.set_xlabel("file, KB")
        axes.set_ylabel("test error, %")
        axes.grid(visible=True, which="both", color="#e6e9ed", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.25, y=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    """Draws what is noted."""
    import matplotlib

    # The same picture gives the same file; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "sigdca", "svg.fonttype": "none"}):
        draw(json.loads(POINTS.read_text())).savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


if __name__ == "__main__":
    main()
