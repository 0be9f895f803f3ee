"""`report.html`: one file, no network. A run's strings are escaped; a policy forbids the rest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sigdca.report import charts
from sigdca.report.flow import chosen_iteration
from sigdca.report.picture import tall_picture, wide_picture
from sigdca.report.schema import BudgetLine, Layer, Report, TargetResult, validate_report
from sigdca.report.wording import (
    UNKNOWN,
    bound,
    elapsed,
    headline,
    no_container,
    point_metrics,
    point_time,
    quantity,
    title,
    verdict,
)

_TONES = {
    "done": "good",
    "exact": "good",
    "tolerance": "good",
    "device-required": "warn",
    "failed": "bad",
}


@dataclass(frozen=True)
class Tile:
    """One of the large figures at the top; a line is (text, badge, the badge's tone)."""

    title: str
    figure: str
    unit: str
    lines: tuple[tuple[str, str, str], ...]


def build_report(report: Mapping[str, Any] | Report) -> str:
    """Draw the page of one run.

    Args:
        report: a `Report`, or what `report.json` holds.

    Returns:
        A whole HTML document that asks for nothing outside itself. The same report gives the
        same text.

    Raises:
        FormatError: the report is not what `schema.Report` says.
    """
    checked = validate_report(report)
    return environment().get_template("report.html.j2").render(_view(checked))


def environment() -> Environment:
    """What fills our templates: everything is escaped, nothing may be missing."""
    return Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def resource(name: str) -> str:
    """One of this package's own files."""
    return files("sigdca.report").joinpath(name).read_text(encoding="utf-8")


def _view(report: Report) -> dict[str, Any]:
    style, script = resource("style.css.j2"), resource("copy.js.j2")
    return {
        "report": report,
        "style": Markup(style),  # our own package data, never a run's text
        "script": Markup(script),
        "policy": policy(style, script),
        "headline": headline(report),
        "status": _status(report),
        "tiles": _tiles(report),
        "budget": [_budget_row(line) for line in report.budget],
        "wide": wide_picture(report),
        "tall": tall_picture(report),
        "error_chart": charts.error_chart(report),
        "bytes_chart": charts.bytes_chart(report),
        "curves": charts.training_curves(report),
        "curve_height": charts.CURVE,
        "time_split": charts.time_chart(report),
        "layer_bytes": charts.layer_bytes_chart(report),
        "layer_sparsity": charts.sparsity_chart(report),
        "total": _totals(report.layers),
        "targets": [_target_card(target) for target in report.targets],
        "points": _ledger_rows(report),
        "unknown": UNKNOWN,
    }


def policy(style: str, script: str) -> str:
    """A content security policy that lets in this very style and this very script only."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}';"
        f" script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _status(report: Report) -> dict[str, str]:
    if report.status == "done":
        return {"text": "✓ done", "tone": "good", "banner": ""}
    if report.status == "budget-not-met":
        kept = " The best container so far is kept." if report.best is not None else ""
        return {
            "text": "✗ budget not met",
            "tone": "bad",
            "banner": f"The run ended without meeting its budget.{kept}",
        }
    if report.status == "not-proven":
        banner = "The run ended without the evidence that edge_test.require asks for."
        return {"text": "✗ not proven", "tone": "bad", "banner": banner}
    banner = "The run has not ended. What follows is as far as it came."
    return {"text": "… incomplete", "tone": "warn", "banner": banner}


def _tiles(report: Report) -> list[Tile]:
    tiles = [_size_tile(report), _error_tile(report)]
    if report.budget:
        tiles.append(_budget_tile(report))
    if report.targets:
        shown = [
            (target.target, verdict(target), _TONES[target.verdict])
            for target in report.targets[:3]
        ]
        more = len(report.targets) - len(shown)
        rest = [(f"and {more} more below", "", "")] if more else []
        tiles.append(Tile("Targets", "", "", (*shown, *rest)))
    return tiles


def _size_tile(report: Report) -> Tile:
    before = f"from {report.baseline.dense_bytes:,} bytes" if report.baseline else ""
    if report.best is None:
        lines = ((before, "", ""),) if before else ()
        return Tile("Size", UNKNOWN, no_container(report), lines)
    ratio = f"{report.best.compression_ratio:,.1f}x smaller"
    text = f"{before}, {ratio}" if before else ratio
    return Tile("Size", f"{report.best.container_bytes:,}", "bytes", ((text, "", ""),))


def _error_tile(report: Report) -> Tile:
    before = quantity("error", report.baseline.error) if report.baseline else UNKNOWN
    if report.best is None:
        return Tile("Error", before, "uncompressed", ())
    change = ""
    if report.baseline:
        change = f"from {before}, {report.best.error - report.baseline.error:+.2f} points"
    lines = ((change, "", ""),) if change else ()
    return Tile("Error", quantity("error", report.best.error), "", lines)


def _budget_tile(report: Report) -> Tile:
    met = sum(line.met is True for line in report.budget)
    missed = [title(line.name) for line in report.budget if line.met is False]
    unverified = [title(line.name) for line in report.budget if line.met is None]
    lines = [(f"missed: {', '.join(missed)}", "", "")] if missed else []
    lines += [(f"unverified: {', '.join(unverified)}", "", "")] if unverified else []
    return Tile("Budget", f"{met} of {len(report.budget)}", "met", tuple(lines))


def _budget_row(line: BudgetLine) -> dict[str, str]:
    verdicts = {
        True: ("✓ met", "good"),
        False: ("✗ missed", "bad"),
        None: ("? unverified", "warn"),
    }
    said, tone = verdicts[line.met]
    return {
        "title": title(line.name),
        "bound": bound(line),
        "value": quantity(line.name, line.value),
        "verdict": said,
        "tone": tone,
        "note": line.note,
    }


def _totals(layers: tuple[Layer, ...]) -> dict[str, Any]:
    weights = sum(layer.num_weights for layer in layers)
    nonzero = sum(layer.num_nonzero for layer in layers)
    packed = sum(layer.bytes for layer in layers)
    dense = sum(layer.dense_bytes for layer in layers)
    return {
        "num_weights": weights,
        "num_nonzero": nonzero,
        "bytes": packed,
        "dense_bytes": dense,
        "sparsity": quantity("sparsity", 1 - nonzero / weights) if weights else UNKNOWN,
        "ratio": quantity("ratio", dense / packed) if packed else UNKNOWN,
    }


def _target_card(target: TargetResult) -> dict[str, Any]:
    same = {True: "the same bits", False: "different bits", None: ""}[target.hashes_agree]
    time_name = "Device time" if target.on_device else "Time"
    difference = target.max_abs_difference
    facts: list[tuple[str, str | None, bool]] = [
        ("Evidence", _evidence(target), False),
        ("Engine", target.engine, False),
        ("Emulator", target.emulator, False),
        ("Samples", _count(target.num_samples), False),
        ("Error", None if target.error is None else quantity("error", target.error), False),
        (
            "Accuracy",
            None if target.accuracy is None else quantity("accuracy", target.accuracy),
            False,
        ),
        ("Logits", same or None, False),
        ("Logits sha256", target.logits_sha256, True),
        ("Reference", target.reference_logits_sha256, True),
        ("Largest difference", None if difference is None else f"{difference:.3g}", False),
        ("Argmax flips", _count(target.argmax_flips), False),
        (
            time_name,
            None if target.duration_s is None else elapsed(target, target.duration_s),
            False,
        ),
    ]
    return {
        "name": target.target,
        "verdict": verdict(target),
        "tone": _TONES[target.verdict],
        "reason": target.reason,
        "facts": [(name, value, mono) for name, value, mono in facts if value is not None],
    }


def _evidence(target: TargetResult) -> str:
    if target.evidence == "device":
        return "device: a board's own hashes"
    if target.evidence == "isa":
        return "isa: an emulation of its instruction set, not a board"
    return "none yet: only a board can tell"


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _ledger_rows(report: Report) -> list[dict[str, Any]]:
    chosen = chosen_iteration(report) if report.best is not None else None
    return [
        {
            "number": point.number,
            "iteration": point.iteration,
            "stage": point.stage,
            "label": point.label,
            "status": point.status,
            "tone": _TONES[point.status],
            "time": point_time(report, point),
            "metrics": point_metrics(report, point),
            "artifact": point.artifact,
            "chosen": point.iteration == chosen and point.stage not in ("train", "test"),
        }
        for point in report.test_points
    ]
