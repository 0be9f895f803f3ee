"""What all benchmarks share: claims with bounds, as JSON for programs or as a table for people."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import rich.box
from rich.console import Console
from rich.table import Table

HEADINGS = ("claim", "median", "spread", "bound", "unit", "n", "ok", "against")


@dataclass(frozen=True)
class Claim:
    """One figure with its bound.

    Attributes:
        name: what was measured.
        value: the median of n measurements.
        bound: the limit; `value` must be at most this (or at least, where `at_least`).
        unit: of value, bound and spread.
        n: how many measurements.
        spread: from the smallest to the largest measurement.
        ok: whether the bound holds for the median, or, where a claim says so, for each.
        against: whose figure the bound is.
    """

    name: str
    value: float
    bound: float
    unit: str
    n: int
    spread: tuple[float, float]
    ok: bool
    against: str


def at_most(
    name: str,
    values: Sequence[float],
    bound: float,
    unit: str,
    against: str = "",
    *,
    every: bool = False,
) -> Claim:
    """A claim that the median, or every value, is no larger than the bound."""
    median, spread = statistics.median(values), (min(values), max(values))
    ok = (spread[1] if every else median) <= bound + 1e-9
    return Claim(name, median, bound, unit, len(values), spread, ok, against)


def at_least(
    name: str,
    values: Sequence[float],
    bound: float,
    unit: str,
    against: str = "",
    *,
    every: bool = False,
) -> Claim:
    """A claim that the median, or every value, is no smaller than the bound."""
    median, spread = statistics.median(values), (min(values), max(values))
    ok = (spread[0] if every else median) >= bound - 1e-9
    return Claim(name, median, bound, unit, len(values), spread, ok, against)


def seen(name: str, values: Sequence[float], unit: str) -> Claim:
    """A figure that has no bound; it is reported as 0."""
    spread = (min(values), max(values))
    return Claim(name, statistics.median(values), 0.0, unit, len(values), spread, True, "")


Measure = Callable[[bool], list[Claim]]


def main(description: str | None, measure: Measure, **others: Measure) -> None:
    """Parses `--quick` and `--json`, measures, prints; exits with 1 if a bound was missed.

    Args:
        description: what the script measures.
        measure: gives its claims; its argument says whether to be quick.
        others: what is measured instead with `--NAME`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 5 minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    for name, other in others.items():
        parser.add_argument(
            f"--{name}", action="store_true", help=f"instead: {(other.__doc__ or name).strip()}"
        )
    arguments = parser.parse_args()
    chosen = [other for name, other in others.items() if getattr(arguments, name)]
    claims = [claim for found in chosen or [measure] for claim in found(arguments.quick)]
    if arguments.json:
        print(json.dumps({"claims": [asdict(claim) for claim in claims]}, indent=1))
    else:
        _draw(claims)
    sys.exit(0 if all(claim.ok for claim in claims) else 1)


def _draw(claims: list[Claim]) -> None:
    """The table as Markdown, so that it can go into RESULTS.md as it is."""
    console = Console(width=200, highlight=False)  # a row of Markdown is one line
    console.print(f"Machine: {os.cpu_count()} cores, {processor()}; {platform.platform()}")
    table = Table(*HEADINGS, box=rich.box.MARKDOWN)
    for claim in claims:
        low, high = claim.spread
        table.add_row(
            claim.name,
            _figure(claim.value),
            f"{_figure(low)} to {_figure(high)}",
            _figure(claim.bound),
            claim.unit,
            str(claim.n),
            "yes" if claim.ok else "**missed**",
            claim.against,
        )
    console.print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def processor() -> str:
    """The name of this machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.machine()
