"""How figures and verdicts are said: one place, so that page and terminal never disagree."""

from __future__ import annotations

import re

from sigdca.report.schema import BudgetLine, Report, TargetResult, TestPoint

UNKNOWN = "\N{EN DASH}"
NOT_A_DEVICE_TIME = "not a device time"

_AT_LEAST = ("fps", "accuracy")  # the budget's other names are upper bounds
_UNITS = {"_us": "µs", "_ms": "ms", "_mw": "mW", "_mj": "mJ"}
_TIME = re.compile(r"_(s|ms|us|ns)$|latency|^fps")
_SUFFIX = re.compile(r"_(bytes|us|ms|mw|mj|s)$")


def duration(seconds: float) -> str:
    """Wall-clock time for people: `0.42 s`, `12.3 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def quantity(name: str, value: bool | int | float | str | None) -> str:
    """A figure with the unit that its name's suffix gives; errors and sparsities in percent."""
    base = name.split("@")[0]
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if base == "bytes" or base.endswith("_bytes"):
        return f"{value:,.0f} bytes"
    if base.endswith("accuracy_drop"):
        return f"{value:.2f} points"
    if base.endswith(("error", "accuracy")):
        return f"{value:.2f} %"
    if base.endswith(("sparsity", "density")):
        return f"{100 * value:.1f} %"
    if base.endswith("ratio"):
        return f"{value:,.1f}x"
    return _with_unit(base, value)


def _with_unit(base: str, value: int | float) -> str:
    if base.endswith("_per_s"):
        return f"{value:,.0f} / s"
    if base == "fps":
        return f"{plain(value)} fps"
    if base.endswith("_s"):
        return duration(value)
    for suffix, unit in _UNITS.items():
        if base.endswith(suffix):
            return f"{plain(value)} {unit}"
    return plain(value)


def plain(value: int | float) -> str:
    """A bare number: four significant digits, or all of them before the point."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def title(name: str) -> str:
    """A field's name as a person says it: `accuracy_drop` is `accuracy drop`, no unit suffix."""
    name, at, target = name.partition("@")
    base = name.removesuffix("_per_s") if name.endswith("_per_s") else _SUFFIX.sub("", name)
    return base.removeprefix("num_").replace("_", " ") + at + target


def bound(line: BudgetLine) -> str:
    """A line of the budget as a person writes it: `≤ 27,000 bytes`, `≥ 30 fps`."""
    sign = "≥" if line.name.split("@")[0] in _AT_LEAST else "≤"
    return f"{sign} {quantity(line.name, line.bound)}"


def verdict(target: TargetResult) -> str:
    """The verdict with its evidence: `exact (device)`, or of an emulation `exact (isa)`."""
    if target.evidence is None:
        return target.verdict
    return f"{target.verdict} ({target.evidence})"


def elapsed(target: TargetResult | None, seconds: float | None) -> str:
    """What an edge test took; unless a board answered, the words rule out a device's time."""
    if seconds is None:
        return UNKNOWN
    if target is not None and target.on_device:
        return duration(seconds)
    if target is not None and target.evidence is None:
        return f"{duration(seconds)} ({NOT_A_DEVICE_TIME})"
    return f"emulation took {emulation_time(seconds)} ({NOT_A_DEVICE_TIME})"


def emulation_time(seconds: float) -> str:
    """`12.4 s`: always to be called an emulation's and followed by `NOT_A_DEVICE_TIME`."""
    return duration(seconds) if seconds < 59.95 else f"{seconds:,.0f} s"


def target_of(report: Report, point: TestPoint) -> TargetResult | None:
    """The verdict that an edge test's record belongs to, found by the target's name."""
    name = point.metrics.get("target", point.label)  # the label may be a file of the user's own
    return next((target for target in report.targets if target.target == name), None)


def point_time(report: Report, point: TestPoint) -> str:
    """What a test point took, safely worded for edge tests."""
    if point.stage != "edge-test":
        return duration(point.duration_s)
    if point.status == "device-required":
        return UNKNOWN
    return elapsed(target_of(report, point), point.duration_s)


def point_metrics(report: Report, point: TestPoint) -> list[tuple[str, str]]:
    """Every metric of a test point as (title, figure); an emulation's times say what they are."""
    target = target_of(report, point)
    caveat = point.stage == "edge-test" and not (target is not None and target.on_device)
    pairs = []
    for name, value in point.metrics.items():
        text = str(value)[:12] if name.endswith("sha256") else quantity(name, value)
        if caveat and _TIME.search(name.split("@")[0]):
            text += f" (emulated, {NOT_A_DEVICE_TIME})"
        pairs.append((title(name), text))
    if point.epochs:
        speeds = sorted(epoch.images_per_s for epoch in point.epochs)
        median = speeds[len(speeds) // 2]
        pairs.append(("epochs", f"{len(speeds)}, {median:,.0f} images / s (median)"))
        sent = sum(epoch.sent_bytes for epoch in point.epochs)
        if sent:
            pairs.append(("sent between workers", quantity("sent_bytes", sent)))
    return pairs


def point_error(point: TestPoint) -> float | None:
    """A test point's error in percent, from `error` or `accuracy`; None where it has neither."""
    error = _number(point, "error")
    accuracy = _number(point, "accuracy")
    return error if error is not None or accuracy is None else 100.0 - accuracy


def point_bytes(report: Report, point: TestPoint) -> float | None:
    """A test point's size: of its container, or dense after TEST; None where it has neither."""
    packed = _number(point, "container_bytes")
    if packed is None and point.stage == "test" and report.baseline is not None:
        return float(report.baseline.dense_bytes)
    return packed


def _number(point: TestPoint, name: str) -> float | None:
    value = point.metrics.get(name)
    return None if value is None or isinstance(value, bool | str) else float(value)


def size_change(report: Report) -> str:
    """`1,066,440 → 21,000 bytes, 50.8x`, as far as it is known."""
    before = f"{report.baseline.dense_bytes:,}" if report.baseline else "?"
    if report.best is None:
        return f"{before} bytes dense, {no_container(report)}"
    ratio = report.best.compression_ratio
    return f"{before} → {report.best.container_bytes:,} bytes, {ratio:,.1f}x"


def no_container(report: Report) -> str:
    """What is said of a run without one."""
    return "no container yet" if report.status == "incomplete" else "no container"


def error_change(report: Report) -> str:
    """`error 1.45 % → 1.52 %`, as far as it is known."""
    before = quantity("error", report.baseline.error) if report.baseline else "?"
    if report.best is None:
        return f"error {before}"
    return f"error {before} → {quantity('error', report.best.error)}"


def headline(report: Report) -> str:
    """The whole result on one line: size, error, and the verdict of every target."""
    targets = [f"{target.target}: {verdict(target)}" for target in report.targets]
    return "; ".join([size_change(report), error_change(report), *targets])


def shorten(text: str, length: int) -> str:
    """`text` cut to `length` characters, with an ellipsis where something is missing; one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"
