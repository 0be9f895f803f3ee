"""The loop's boxes: which one ran in the chosen iteration, its figures, or why it did not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sigdca.report.schema import STAGES, Report, Stage, TestPoint
from sigdca.report.wording import (
    NOT_A_DEVICE_TIME,
    duration,
    emulation_time,
    point_bytes,
    point_error,
    quantity,
    shorten,
    target_of,
    verdict,
)

_RETEST_OF_LIVE = ("retest", "live")
MAX_TARGETS = 2  # edge tests told in the box; the rest are counted


@dataclass(frozen=True)
class Line:
    """One line of a box. `tone` is a CSS class: figure, note, name, good or warn."""

    text: str
    tone: str = "figure"


@dataclass(frozen=True)
class Box:
    """One box of the loop. `state` is a CSS class: done, failed, waiting (for a board), muted."""

    title: str
    state: str
    lines: tuple[Line, ...]


def chosen_iteration(report: Report) -> int:
    """The iteration that the picture tells of: the best one, or the last where there is none."""
    if report.best is not None:
        return report.best.iteration
    later = [
        point.iteration for point in report.test_points if point.stage not in ("train", "test")
    ]
    return max(later, default=1)


def loop_boxes(report: Report) -> list[Box]:
    """The nine boxes in order, each with its test points' figures or why it has none."""
    boxes = [_stage_box(report, stage) for stage in STAGES]
    inference = Box(
        "INFERENCE", "muted", (Line("on the device,", "note"), Line("not in this run", "note"))
    )
    return [*boxes, inference, _new_data_box(report)]


def _new_data_box(report: Report) -> Box:
    """What came from boards, and how long it took to come back to them."""
    released = [point.metrics for point in report.test_points if point.stage == "release"]
    if not released:
        return Box("NEW DATA", "muted", (Line("none acquired yet", "note"),))
    last = released[-1]
    lines = []
    if last.get("num_new_images"):
        lines.append(Line(f"{last['num_new_images']:,} images"))
    if last.get("version") is None:
        lines.append(Line("not released", "warn"))
        return Box("NEW DATA", "failed", tuple(lines))
    lines.append(Line(f"version {last['version']}", "good"))
    if last.get("redeployment_s") is not None:
        lines.append(Line(f"in {duration(float(last['redeployment_s']))}", "note"))
    return Box("NEW DATA", "done", tuple(lines))


def _points_of(report: Report, stage: Stage) -> list[TestPoint]:
    """A stage's own: RETEST of what was live before a cycle is of another run's container."""
    points = [
        point
        for point in report.test_points
        if point.stage == stage and (stage, point.label) != _RETEST_OF_LIVE
    ]
    if stage not in ("train", "test"):
        chosen = chosen_iteration(report)
        points = [point for point in points if point.iteration == chosen]
    return points


def _stage_box(report: Report, stage: Stage) -> Box:
    name = stage.replace("-", " ").upper()
    points = _points_of(report, stage)
    if not points:
        return Box(name, "muted", (Line(_why_not(report, stage), "note"),))
    if stage == "edge-test":
        return _edge_box(report, name, points)
    lines = list(_figures(report, points))
    seconds = sum(point.duration_s for point in points)
    lines.append(Line(duration(seconds), "note"))
    failed = any(point.status == "failed" for point in points)
    waiting = all(point.status == "device-required" for point in points)
    if failed:
        lines.insert(0, Line("failed", "warn"))
    return Box(name, "failed" if failed else "waiting" if waiting else "done", tuple(lines))


def _why_not(report: Report, stage: Stage) -> str:
    after = STAGES[STAGES.index(stage) + 1 :]
    if any(point.stage in after for point in report.test_points):
        return "not needed"
    if report.status != "incomplete" and report.best is None:
        return "not in the job"
    if report.status != "incomplete" and stage == "edge-test" and not report.targets:
        return "no target in the job"
    return "not reached"


def _figures(report: Report, points: list[TestPoint]) -> Iterable[Line]:
    """The last error and the last size among a stage's points."""
    errors = [error for error in map(point_error, points) if error is not None]
    if errors:
        yield Line(f"error {quantity('error', errors[-1])}")
    sizes = [size for size in (point_bytes(report, point) for point in points) if size is not None]
    if sizes:
        yield Line(quantity("container_bytes", sizes[-1]))
    epochs = sum(len(point.epochs) for point in points)
    if epochs:
        yield Line(f"{epochs} epochs" if epochs > 1 else "1 epoch", "note")


def _edge_box(report: Report, name: str, points: list[TestPoint]) -> Box:
    lines = [line for point in points[:MAX_TARGETS] for line in _edge_lines(report, point)]
    if len(points) > MAX_TARGETS:
        lines.append(Line(f"and {len(points) - MAX_TARGETS} more below", "note"))
    if any(point.status == "failed" for point in points):
        return Box(name, "failed", tuple(lines))
    done = any(point.status == "done" for point in points)
    return Box(name, "done" if done else "waiting", tuple(lines))


def _edge_lines(report: Report, point: TestPoint) -> Iterable[Line]:
    """One target in the box: name, error, verdict, and a time that cannot be mistaken."""
    target = target_of(report, point)
    yield Line(shorten(point.label or "target", 17), "name")
    if point.status != "done":
        yield Line(point.status, "warn")
        return
    yield from _figures(report, [point])
    if target is not None:
        passed = target.verdict != "device-required"
        said = verdict(target) if passed else target.verdict
        yield Line(said, "good" if passed else "warn")
    if target is not None and target.on_device:
        yield Line(duration(point.duration_s), "note")
    else:
        yield Line(f"emulated: {emulation_time(point.duration_s)}", "note")
        yield Line(f"({NOT_A_DEVICE_TIME})", "note")
