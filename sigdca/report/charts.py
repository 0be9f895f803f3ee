"""The charts' geometry: x in percent of the plot's width, so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sigdca.report.flow import chosen_iteration
from sigdca.report.schema import Epoch, Layer, Report, TestPoint
from sigdca.report.wording import duration, point_bytes, point_error, quantity, shorten

RAW_BITS = 32  # of a layer whose weights are written out
ROW = 30  # height of a chart's row, CSS pixels
HEAD = 26  # height of the axis above the rows
CURVE = 190  # height of a training curve
LOG_FROM = 12.0  # ratio of largest to smallest value from which an axis is logarithmic
TIME_PARTS = ("input", "compute", "communication")
MARKED_EPOCHS = 40  # up to so many, each epoch gets its dot


@dataclass(frozen=True)
class Tick:
    """A line of the grid at `at` percent (or pixels, on a curve's y axis), with its figure."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One row of a dot chart. Without `x` the row is a heading."""

    label: str
    y: float
    x: float | None = None
    value: str = ""
    leftwards: bool = False
    tone: str = "plain"


@dataclass(frozen=True)
class DotChart:
    """Values through the stages, top to bottom; `links` join dots that follow each other."""

    name: str
    height: float
    dots: list[Dot]
    links: list[tuple[float, float, float, float]]
    ticks: list[Tick]
    bound: Tick | None
    log: bool


@dataclass(frozen=True)
class Segment:
    """A piece of a bar; `tone` is its CSS class."""

    x: float
    width: float
    tone: str
    text: str


@dataclass(frozen=True)
class Bar:
    """One row of bars with the figure at its right."""

    label: str
    y: float
    segments: tuple[Segment, ...]
    value: str


@dataclass(frozen=True)
class BarChart:
    """Rows of bars and what the colours mean."""

    name: str
    height: float
    bars: list[Bar]
    legend: list[tuple[str, str]]


@dataclass(frozen=True)
class Band:
    """The epochs of one stage along a curve's x axis."""

    x: float
    width: float
    label: str


@dataclass(frozen=True)
class Curve:
    """A value over all epochs of the run; `lines` are SVG points in a box of 100 by `CURVE`."""

    name: str
    title: str
    lines: list[str]
    marks: list[tuple[float, float]]
    bands: list[Band]
    ticks: list[Tick]
    last: str
    num_epochs: int
    log: bool


@dataclass(frozen=True)
class Scale:
    """Maps values to 0..100."""

    low: float
    high: float
    log: bool

    def __call__(self, value: float) -> float:
        """Where `value` stands, in percent."""
        if self.log:
            return 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)


def fit(values: Sequence[float]) -> Scale:
    """An axis that holds all values with some room; logarithmic where they span a wide range."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= LOG_FROM:
        room = (high / low) ** 0.06
        return Scale(low / room, high * room, True)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    floor = 0.0 if low >= 0 else low - room
    return Scale(max(low - room, floor), high + room, False)


def ticks(scale: Scale, name: str, most: int = 4) -> list[Tick]:
    """Round figures on an axis, at most `most` and a few."""
    if scale.log:
        values = _decades(scale, (1,))
        values = values[-most - 1 :] if len(values) > 2 else _decades(scale, (1, 3))
    else:
        step = _round_step((scale.high - scale.low) / most)
        count = math.floor(scale.high / step) - math.ceil(scale.low / step) + 1
        values = [(math.ceil(scale.low / step) + i) * step for i in range(count)]
    return [Tick(scale(value), _short(name, value)) for value in values]


def _decades(scale: Scale, factors: Sequence[int]) -> list[float]:
    powers = range(math.floor(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if scale.low <= value <= scale.high]


def _round_step(raw: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw) * magnitude


def _short(name: str, value: float) -> str:
    if name == "bytes":
        for size, unit in ((1_000_000, "MB"), (1_000, "kB")):
            if value >= size:
                return f"{value / size:g} {unit}"
        return f"{value:g} B"
    if name == "sparsity":
        return f"{100 * value:g} %"
    return f"{value:.4g} %" if name in ("error", "accuracy") else f"{value:.4g}"


def error_chart(report: Report) -> DotChart | None:
    """Error through the stages, with the budget's bound; None where no test point has an error."""
    bound = _bound(report, "error")
    drop = _bound(report, "accuracy_drop")
    if bound is None and drop is not None and report.baseline is not None:
        bound = report.baseline.error + drop
    return _dot_chart(report, "error", point_error, bound)


def bytes_chart(report: Report) -> DotChart | None:
    """Bytes through the stages, with the budget's bound; None where no test point has a size."""
    return _dot_chart(
        report,
        "bytes",
        lambda point: point_bytes(report, point),
        _bound(report, "container_bytes"),
    )


def _bound(report: Report, name: str) -> float | None:
    return next((line.bound for line in report.budget if line.name == name), None)


def _dot_chart(
    report: Report,
    name: str,
    value_of: Callable[[TestPoint], float | None],
    bound: float | None,
) -> DotChart | None:
    found = [(point, value_of(point)) for point in report.test_points]
    rows = [(point, value) for point, value in found if value is not None]
    if not rows:
        return None
    values = [value for _, value in rows]
    scale = fit(values if bound is None or bound <= 0 else [*values, bound])
    headings = len({_group(point) for point, _ in rows}) > 2
    dots: list[Dot] = []
    y, group = HEAD + ROW / 2, ""
    for point, value in rows:
        if headings and _group(point) != group:
            group = _group(point)
            dots.append(Dot(group, y))
            y += ROW
        x = scale(value)
        chosen = report.best is not None and point.iteration == chosen_iteration(report)
        tone = "chosen" if chosen and point.stage in ("package", "edge-test") else "plain"
        dots.append(Dot(_row_label(point), y, x, quantity(name, value), x > 62, tone))
        y += ROW
    real = [dot for dot in dots if dot.x is not None]
    links = [(a.x or 0.0, a.y, b.x or 0.0, b.y) for a, b in pairwise(real)]
    mark = None if bound is None else _bound_tick(scale, name, bound)
    return DotChart(name, y - ROW / 2 + 6, dots, links, ticks(scale, name), mark, scale.log)


def _bound_tick(scale: Scale, name: str, bound: float) -> Tick | None:
    if bound < scale.low or bound > scale.high:
        return None
    return Tick(scale(bound), f"budget {quantity(name, bound)}")


def _group(point: TestPoint) -> str:
    if point.stage in ("train", "test"):
        return f"train round {point.iteration}"
    return f"iteration {point.iteration}"


def _row_label(point: TestPoint) -> str:
    if point.stage == "edge-test":
        return shorten(point.label or point.stage, 17)
    text = (
        f"{point.stage} {point.label}"
        if point.label and point.label != point.stage
        else point.stage
    )
    return shorten(text, 17)


def layer_bytes_chart(report: Report) -> BarChart | None:
    """Bytes per layer by what they hold; with a last row for the rest, they add up to the file."""
    if not report.layers:
        return None
    packed = sum(layer.bytes for layer in report.layers)
    rest = report.best.container_bytes - packed if report.best is not None else 0
    widest = max([layer.bytes for layer in report.layers] + [rest, 1])
    bars: list[Bar] = []
    sums: dict[str, int] = {}
    for index, layer in enumerate(report.layers):
        parts = _parts(layer)
        for part, size in parts.items():
            sums[part] = sums.get(part, 0) + size
        bars.append(_stacked(layer.name, index, parts, widest, layer.bytes))
    if rest > 0:
        bars.append(_stacked("rest of file", len(bars), {"rest": rest}, widest, rest))
        sums["rest"] = rest
    total = max(packed + max(rest, 0), 1)
    legend = [(part, f"{part} {_share(size, total)}") for part, size in sums.items() if size]
    return BarChart("layer-bytes", ROW * len(bars) + 4, bars, legend)


def _share(size: int, total: int) -> str:
    return f"{100 * size / total:.0f} %" if 200 * size >= total else "<1 %"


def _parts(layer: Layer) -> dict[str, int]:
    parts: dict[str, int] = layer.parts.model_dump()
    if not any(parts.values()) and layer.bits < RAW_BITS:  # all in one, by version 2
        return {"stream": layer.bytes}
    other = layer.bytes - sum(parts.values())
    return {**parts, "other": other} if other > 0 else parts


def _stacked(name: str, row: int, parts: dict[str, int], widest: int, total: int) -> Bar:
    segments, x = [], 0.0
    for part, size in parts.items():
        width = 100 * size / widest
        if size:
            segments.append(Segment(x, width, part, f"{part}: {size:,} bytes"))
        x += width
    return Bar(shorten(name, 15), ROW * row, tuple(segments), f"{total:,} B")


def sparsity_chart(report: Report) -> BarChart | None:
    """Share of zeros and index bits per layer: two bars a row."""
    if not report.layers:
        return None
    most = max(8, *(layer.bits for layer in report.layers))
    bars = []
    for index, layer in enumerate(report.layers):
        zeros = Segment(0, 100 * layer.sparsity, "zeros", quantity("sparsity", layer.sparsity))
        bits = Segment(0, 100 * layer.bits / most, "bits", f"{layer.bits} of {most} bits")
        value = f"{100 * layer.sparsity:.1f} % · {layer.bits} bit"
        bars.append(Bar(shorten(layer.name, 15), ROW * index, (zeros, bits), value))
    legend = [("zeros", "weights that are zero"), ("bits", f"bits per index (of {most})")]
    return BarChart("layer-sparsity", ROW * len(bars) + 4, bars, legend)


def training_curves(report: Report) -> list[Curve]:
    """Loss, accuracy and sparsity over all epochs of the run, as far as they were recorded."""
    points = [point for point in report.test_points if point.epochs]
    drawn = [
        _curve(points, "loss", "Loss", lambda epoch: epoch.loss),
        _curve(points, "accuracy", "Accuracy in training", lambda epoch: epoch.accuracy),
        _curve(points, "sparsity", "Sparsity", lambda epoch: epoch.sparsity),
        _curve(points, "images_per_s", "Images per second", lambda epoch: epoch.images_per_s),
    ]
    return [curve for curve in drawn if curve is not None]


def time_chart(report: Report) -> BarChart | None:
    """What each training stage's time went into; None where it was not measured."""
    bars: list[Bar] = []
    sums = dict.fromkeys(TIME_PARTS, 0.0)
    for point in report.test_points:
        parts = {
            part: sum(getattr(epoch, f"{part}_s") for epoch in point.epochs) for part in TIME_PARTS
        }
        total = sum(parts.values())
        if not total:
            continue
        segments, x = [], 0.0
        for part, seconds in parts.items():
            sums[part] += seconds
            width = 100 * seconds / total
            segments.append(Segment(x, width, part, f"{part}: {duration(seconds)}"))
            x += width
        label = shorten(f"{point.label or point.stage} #{point.iteration}", 15)
        bars.append(Bar(label, ROW * len(bars), tuple(segments), duration(total)))
    total = sum(sums.values())
    legend = [
        (part, f"{part} {100 * seconds / total:.1f} %") for part, seconds in sums.items() if total
    ]
    return BarChart("time-split", ROW * len(bars) + 4, bars, legend) if bars else None


def _curve(
    points: list[TestPoint], name: str, heading: str, value_of: Callable[[Epoch], float | None]
) -> Curve | None:
    total = sum(len(point.epochs) for point in points)
    runs: list[list[tuple[float, float]]] = []
    bands: list[Band] = []
    start = 0
    for point in points:
        found = [(start + i + 0.5, value_of(epoch)) for i, epoch in enumerate(point.epochs)]
        runs.append([(100 * at / total, value) for at, value in found if value is not None])
        label = point.label or point.stage
        width = 100 * len(point.epochs) / total
        bands.append(
            Band(
                100 * start / total,
                width,
                shorten(label, 12) if width >= 1.5 * min(len(label), 12) else "",
            )
        )
        start += len(point.epochs)
    values = [value for run in runs for _, value in run]
    if len(values) < 2:
        return None
    scale = fit(values)
    placed = [[(x, CURVE * (1 - scale(value) / 100)) for x, value in run] for run in runs]
    lines = [" ".join(f"{x:.2f},{y:.1f}" for x, y in run) for run in placed if len(run) > 1]
    marks = [mark for run in placed for mark in run] if len(values) <= MARKED_EPOCHS else []
    axis = [replace(tick, at=CURVE * (1 - tick.at / 100)) for tick in ticks(scale, name)]
    last = f"{values[-1]:.3g}" if name == "loss" else quantity(name, values[-1])
    return Curve(name, heading, lines, marks, bands, axis, last, total, scale.log)
