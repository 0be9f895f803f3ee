"""A study's charts: the front among published points, trials over time, what layers stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sigdca.report.charts import Scale, Tick, fit, ticks
from sigdca.report.published import Published
from sigdca.report.wording import quantity
from sigdca.search import Sensitivity, TrialRecord

HEIGHT = 380  # of the front, CSS pixels
ROW = 22  # of a lane of trials
CURVE = 150  # of a layer's curve
MOST = 6.0  # errors beyond so many times the smallest are not drawn: they flatten all others


@dataclass(frozen=True)
class Mark:
    """A point of a chart: x in percent of the width, y in pixels."""

    x: float
    y: float
    tone: str
    text: str
    label: str = ""
    leftwards: bool = False


@dataclass(frozen=True)
class FrontChart:
    """Bytes across, error upwards; `line` joins the front."""

    marks: list[Mark]
    line: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    num_left_out: int


@dataclass(frozen=True)
class Span:
    """A trial at work."""

    x: float
    width: float
    y: float
    tone: str
    text: str


@dataclass(frozen=True)
class TimeChart:
    """Trials over time, in lanes of one process each, by site."""

    spans: list[Span]
    lanes: list[tuple[float, str]]
    ticks: list[Tick]
    height: float


@dataclass(frozen=True)
class LayerCurve:
    """The accuracy of one layer's change: a line for each layer, in a box of 100 by `CURVE`."""

    kind: str
    lines: list[tuple[str, str, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def front_chart(
    trials: Sequence[TrialRecord],
    front: Sequence[int],
    chosen: int | None,
    others: Sequence[Published],
) -> FrontChart | None:
    """The trials at full fidelity and the published points; None before the first trial."""
    found = [
        (trial, trial.full.figures["container_bytes"], trial.full.figures["error"])
        for trial in trials
        if trial.full is not None and trial.status == "done"
    ]
    if not found:
        return None
    most = MOST * max(0.01, min(error for _, _, error in found))
    shown = [entry for entry in found if entry[2] <= most]
    sizes = [size for _, size, _ in shown] + [other.container_bytes for other in others]
    errors = [error for _, _, error in shown] + [other.error for other in others]
    across = Scale(min(sizes) / 1.3, max(sizes) * 1.3, log=True)
    upwards = fit(errors)
    marks = [
        _mark(across, upwards, (size, error), _tone(trial, front, chosen), _said(trial))
        for trial, size, error in shown
    ]
    marks.sort(key=lambda mark: ("plain", "front", "job", "chosen").index(mark.tone))
    for other in others:
        size = quantity("bytes", other.container_bytes)
        text = f"{other.name}: {size}, {other.error:g} % ({other.source})"
        place = (other.container_bytes, other.error)
        marks.append(_mark(across, upwards, place, "other", text, other.name))
    _part(marks)
    places = sorted((size, error) for trial, size, error in shown if trial.number in front)
    line = " ".join(f"{across(size):.2f},{_y(upwards, error):.2f}" for size, error in places)
    y_ticks = [Tick(HEIGHT * (1 - tick.at / 100), tick.text) for tick in ticks(upwards, "error")]
    return FrontChart(marks, line, _size_ticks(across), y_ticks, len(found) - len(shown))


def _part(marks: list[Mark]) -> None:
    """Turns a label to the left where another published point is close at its right."""
    named = sorted((mark for mark in marks if mark.label), key=lambda mark: mark.x)
    for one, other in pairwise(named):
        if other.x - one.x < 12 and abs(other.y - one.y) < 16:
            marks[marks.index(one)] = replace(one, leftwards=True)


def _y(scale: Scale, value: float) -> float:
    return HEIGHT * (1 - scale(value) / 100)


def _mark(
    across: Scale,
    upwards: Scale,
    place: tuple[float, float],
    tone: str,
    text: str,
    label: str = "",
) -> Mark:
    x = across(place[0])
    return Mark(x, _y(upwards, place[1]), tone, text, label, leftwards=x > 70)


def _tone(trial: TrialRecord, front: Sequence[int], chosen: int | None) -> str:
    if trial.number == chosen:
        return "chosen"
    if trial.number == 1:
        return "job"
    return "front" if trial.number in front else "plain"


def _said(trial: TrialRecord) -> str:
    full = trial.full
    assert full is not None
    size, error = full.figures["container_bytes"], full.figures["error"]
    return f"trial {trial.number}: {quantity('bytes', size)}, {quantity('error', error)}"


def _size_ticks(scale: Scale) -> list[Tick]:
    """Round sizes on a logarithmic axis: 1, 2 and 5 of each decade, fewer where there are many."""
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        values = [value for value in values if scale.low <= value <= scale.high]
        if len(values) <= 8:
            break
    return [Tick(scale(value), _size(value)) for value in values]


def _size(value: float) -> str:
    return f"{value / 1000:g} kB" if value >= 1000 else f"{value:g} B"


def time_chart(trials: Sequence[TrialRecord]) -> TimeChart | None:
    """Each trial from its start to its end, in the first lane of its site that is free."""
    ran = [trial for trial in trials if trial.ended is not None and trial.site]
    if not ran:
        return None
    start = min(trial.started for trial in ran)
    end = max(float(trial.ended or 0) for trial in ran)
    scale = Scale(0.0, max(end - start, 1.0), log=False)
    spans: list[Span] = []
    lanes: list[tuple[float, str]] = []
    for site in sorted({trial.site for trial in ran}):
        free: list[float] = []
        first = len(lanes)
        for trial in sorted((t for t in ran if t.site == site), key=lambda t: t.started):
            assert trial.ended is not None
            lane = next((n for n, until in enumerate(free) if until <= trial.started), len(free))
            if lane == len(free):
                free.append(0.0)
                lanes.append((ROW * (first + lane), site if lane == 0 else ""))
            free[lane] = trial.ended
            x, until = scale(trial.started - start), scale(trial.ended - start)
            text = f"trial {trial.number}: {trial.status}, {trial.duration_s:,.1f} s"
            y = ROW * (first + lane)
            spans.append(Span(x, max(0.15, until - x - 0.1), y, trial.status, text))
    minutes = [Tick(tick.at, f"{tick.text} s") for tick in ticks(scale, "seconds", 6)]
    return TimeChart(spans, lanes, minutes, ROW * len(lanes))


def sensitivity_charts(sensitivity: Sensitivity) -> list[LayerCurve]:
    """One chart for sparsity, bits and step each, with a line for each layer."""
    charts = []
    for kind in sorted({curve.kind for curve in sensitivity.curves}):
        curves = [curve for curve in sensitivity.curves if curve.kind == kind]
        low = min(min(curve.accuracy) for curve in curves)
        high = max(sensitivity.accuracy, *(max(curve.accuracy) for curve in curves))
        scale = Scale(low - 1, high + 1, log=False)
        num_levels = len(curves[0].levels)
        lines = []
        for number, curve in enumerate(curves):
            points = " ".join(
                f"{_at(place, num_levels):.2f},{CURVE * (1 - scale(accuracy) / 100):.2f}"
                for place, accuracy in enumerate(curve.accuracy)
            )
            lines.append((curve.layer, points, f"layer-{number % 6}"))
        every = max(1, num_levels // 6)
        x_ticks = [
            Tick(_at(place, num_levels), f"{level:g}")
            for place, level in enumerate(curves[0].levels)
            if place % every == 0
        ]
        y_ticks = [Tick(CURVE * (1 - tick.at / 100), tick.text) for tick in ticks(scale, "error")]
        charts.append(LayerCurve(kind, lines, x_ticks, y_ticks))
    return charts


def _at(place: int, num_levels: int) -> float:
    return 100 * place / max(1, num_levels - 1)
