"""The loop as a picture: where boxes and arrows stand.

Two layouts of the same boxes, one for a desktop's width and one for a phone's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sigdca.report.flow import Box, chosen_iteration, loop_boxes
from sigdca.report.schema import Report

LINE = 15  # height of a line of text in a box, SVG units

_OUTER = "new data, acquired by the target"


@dataclass(frozen=True)
class Placed:
    """A box with its place, SVG units."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """A line with a head at its end. `tone` is a CSS class: forward, taken, idle or outer."""

    path: str
    head: str
    tone: str


@dataclass(frozen=True)
class Label:
    """Free text; `transform` turns it, `anchor` is SVG's text-anchor."""

    text: str
    x: float
    y: float
    tone: str = "idle"
    anchor: str = "middle"
    transform: str = ""


@dataclass(frozen=True)
class Zone:
    """A tinted ground behind the boxes of one place: the cluster or the target."""

    text: str
    x: float
    y: float
    width: float
    height: float
    indent: float = 12


@dataclass(frozen=True)
class Picture:
    """Everything the template needs to draw one layout."""

    name: str
    width: float
    height: float
    description: str
    zones: list[Zone]
    boxes: list[Placed]
    arrows: list[Arrow]
    labels: list[Label]


@dataclass(frozen=True)
class _Return:
    """An inner way back: what it waits for and, where it was really taken, how often."""

    text: str
    count: str = ""

    @property
    def tone(self) -> str:
        return "taken" if self.count else "idle"

    @property
    def on_one_line(self) -> str:
        return f"{self.text}: {self.count}" if self.count else self.text


def _train_return(report: Report) -> _Return:
    rounds = len({point.iteration for point in report.test_points if point.stage == "train"})
    return _Return("until accurate enough", f"{rounds} rounds" if rounds > 1 else "")


def _compress_return(report: Report) -> _Return:
    rounds = len({point.iteration for point in report.test_points if point.stage == "compress"})
    if rounds < 2:
        return _Return("until the budget is met")
    chosen = f", {chosen_iteration(report)} chosen" if report.best is not None else ""
    return _Return("until the budget is met", f"{rounds} iterations{chosen}")


def _describe(boxes: list[Box]) -> str:
    parts = [f"{box.title}: {', '.join(line.text for line in box.lines)}" for box in boxes]
    return (
        ". ".join(parts)
        + ". Arrows lead from each box to the next, back from TEST to TRAIN, back from"
        " RETEST and EDGE TEST to COMPRESS, and from NEW DATA back to TRAIN."
    )


def _height(box: Box) -> float:
    return 34 + LINE * len(box.lines)


def wide_picture(report: Report) -> Picture:
    """The loop on one row, with the return arrows below it; 1216 units wide."""
    width, pitch, left, top = 130.0, 151.0, 14.5, 40.0
    boxes = loop_boxes(report)
    row = max(_height(box) for box in boxes[:8])
    placed = [Placed(box, left + i * pitch, top, width, row) for i, box in enumerate(boxes[:8])]
    placed.append(Placed(boxes[8], placed[7].x, top + row + 46, width, 54))
    low = placed[8].y + placed[8].height + 14
    border = placed[6].x - (pitch - width) / 2
    zones = [
        Zone("cluster, accelerated", 2, 2, border - 6, low - 2),
        Zone("embedded target", border, 2, 1214 - border, low - 2),
    ]
    arrows = []
    for box in placed[:7]:
        start, end, y = box.x + width, box.x + pitch, top + 17
        arrows.append(_arrow(f"M{start} {y}H{end - 5}", end, y, "right", "forward"))
    returns, labels = _returns_below(report, placed, top + row)
    description = _describe(boxes)
    return Picture("wide", 1216, low + 2, description, zones, placed, arrows + returns, labels)


def _returns_below(
    report: Report, placed: list[Placed], bottom: float
) -> tuple[list[Arrow], list[Label]]:
    """The arrows that lead back, under the row of boxes."""
    train, compress = _train_return(report), _compress_return(report)
    centre = [box.x + box.width / 2 for box in placed]
    new_data = placed[8]
    middle, turn, up = new_data.y + new_data.height / 2, bottom + 28, bottom + 5
    to_train, from_new_data = centre[0] + 20, centre[0] - 30

    def back(path: str, x: float, tone: str) -> Arrow:
        return _arrow(f"{path}H{x}V{up}", x, bottom, "up", tone)

    arrows = [
        _arrow(f"M{centre[7]} {bottom}V{new_data.y - 5}", centre[7], new_data.y, "down", "outer"),
        back(f"M{new_data.x} {middle}", from_new_data, "outer"),
        back(f"M{centre[1]} {bottom}V{turn}", to_train, train.tone),
        back(f"M{centre[6]} {bottom}V{turn}", centre[2], compress.tone),
        Arrow(f"M{centre[4]} {bottom}V{turn}", "", compress.tone),
    ]
    between = (centre[2] + centre[4]) / 2
    labels = [
        Label(train.on_one_line, (to_train + centre[1]) / 2, turn + 16, train.tone),
        Label(compress.on_one_line, between, turn + 16, compress.tone),
        Label(_OUTER, between, middle + 16, "outer"),
    ]
    return arrows, labels


def tall_picture(report: Report) -> Picture:
    """The loop from top to bottom, with the return arrows at its sides; 360 units wide."""
    left, width, gap = 40.0, 250.0, 24.0
    boxes = loop_boxes(report)
    placed: list[Placed] = []
    y = 34.0
    for index, box in enumerate(boxes):
        placed.append(Placed(box, left, y, width, _height(box)))
        y += _height(box) + (gap + 30 if index == 5 else gap)
    border = placed[6].y - 30
    zones = [
        Zone("cluster, accelerated", 2, 2, 356, border - 10, indent=left - 2),
        Zone("embedded target", 2, border, 356, y - border - 4, indent=left - 2),
    ]
    arrows = []
    middle = left + width / 2
    for upper, lower in pairwise(placed):
        path = f"M{middle} {upper.y + upper.height}V{lower.y - 5}"
        tone = "outer" if upper is placed[7] else "forward"
        arrows.append(_arrow(path, middle, lower.y, "down", tone))
    returns, labels = _returns_beside(report, placed)
    return Picture("tall", 360, y, _describe(boxes), zones, placed, arrows + returns, labels)


def _returns_beside(report: Report, placed: list[Placed]) -> tuple[list[Arrow], list[Label]]:
    """The arrows that lead back: the inner ones at the right of the column, the outer one left."""
    train, compress = _train_return(report), _compress_return(report)
    left, right = placed[0].x, placed[0].x + placed[0].width
    far = right + 24
    height = [box.y + 17 for box in placed]

    def back(start: int, end: int, tone: str) -> Arrow:
        path = f"M{right} {height[start]}H{far}V{height[end]}H{right + 5}"
        return _arrow(path, right, height[end], "left", tone)

    outer = f"M{left} {height[8]}H{left - 18}V{height[0]}H{left - 5}"
    arrows = [
        back(1, 0, train.tone),
        back(6, 2, compress.tone),
        Arrow(f"M{right} {height[4]}H{far}", "", compress.tone),
        _arrow(outer, left, height[0], "right", "outer"),
    ]
    first, second = (height[0] + height[1]) / 2, (height[2] + height[5]) / 2
    labels = [_turned(_OUTER, left - 24, second, "outer")]
    for said, y in ((train, first), (compress, second)):
        labels.append(_turned(said.text, far + 15, y, said.tone))
        labels.append(_turned(said.count, far + 29, y, said.tone))
    return arrows, labels


def _turned(text: str, x: float, y: float, tone: str) -> Label:
    return Label(text, x, y, tone, transform=f"rotate(-90 {x} {y})")


def _arrow(path: str, x: float, y: float, direction: str, tone: str) -> Arrow:
    """An arrow along `path` whose head ends at (x, y)."""
    back = {"right": (-8, 0), "left": (8, 0), "down": (0, -8), "up": (0, 8)}[direction]
    side = (back[1] * 0.55, back[0] * 0.55)
    head = (
        f"M{x:g} {y:g}L{x + back[0] + side[0]:g} {y + back[1] + side[1]:g}"
        f"L{x + back[0] - side[0]:g} {y + back[1] - side[1]:g}Z"
    )
    return Arrow(path, head, tone)
