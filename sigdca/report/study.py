"""A study's `report.html`: the front, what layers stand, what passes bought, time and cost."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from sigdca.errors import StorageError
from sigdca.job import Job, parse_job
from sigdca.job.budget import who_can_tell
from sigdca.report.collect import command_of
from sigdca.report.page import environment, policy, resource
from sigdca.report.published import published
from sigdca.report.study_charts import (
    CURVE,
    HEIGHT,
    ROW,
    front_chart,
    sensitivity_charts,
    time_chart,
)
from sigdca.report.wording import UNKNOWN, quantity, title
from sigdca.search import (
    FrontRecord,
    Rung,
    Sensitivity,
    StudyFolder,
    StudyRecord,
    TrialRecord,
    mark,
    unverified,
)
from sigdca.storage import Ledger, Record, Store

MOST_ROWS = 200  # of the table of trials; a study of thousands has its files

_TONES = {"done": "good", "pruned": "warn", "failed": "bad", "stopped": "warn", "running": "warn"}


def build_study_report(store: Store) -> str:
    """Draws the page of a study, as far as it came.

    Args:
        store: the study's folder.

    Returns:
        A whole HTML document that asks for nothing outside itself.

    Raises:
        StorageError: there is no study there.
    """
    folder = StudyFolder(store)
    study = folder.study()
    if study is None:
        raise StorageError(f"{store.root}: there is no study")
    front = FrontRecord.model_validate_json(store.read("front.json"))
    return (
        environment()
        .get_template("study.html.j2")
        .render(_view(store, study, front, folder.trials()))
    )


def _view(
    store: Store, study: StudyRecord, front: FrontRecord, trials: list[TrialRecord]
) -> dict[str, Any]:
    style, script = resource("style.css.j2"), resource("copy.js.j2")
    job = parse_job(study.job, store.path("job.yaml"))
    chosen = next((trial for trial in trials if trial.number == study.chosen), None)
    numbers = [trial.number for trial in front.trials]
    rows = list(front.trials)
    if chosen is not None and chosen.number not in numbers:
        rows.append(chosen)
    others = published(job.model, job.data.source)
    known = store.exists("sensitivity.json")
    scan = Sensitivity.model_validate_json(store.read("sensitivity.json")) if known else None
    names = list(dict.fromkeys(["container_bytes", "error", *front.objectives]))
    return {
        "study": study,
        "job": job,
        "style": Markup(style),  # our own package data, never a run's text
        "script": Markup(script),
        "policy": policy(style, script),
        "status": _status(study),
        "headline": _headline(study, chosen, trials),
        "tiles": _tiles(study, chosen, trials),
        "front_chart": front_chart(trials, numbers, study.chosen, others),
        "others": others,
        "height": HEIGHT,
        "columns": [title(name) for name in names],
        "front": [_front_row(trial, names, study, job) for trial in rows],
        "settings": _settings(chosen),
        "targets": _targets(chosen),
        "passes": _passes(store, chosen),
        "scan": scan,
        "curves": sensitivity_charts(scan) if scan is not None else [],
        "curve_height": CURVE,
        "time_chart": time_chart(trials),
        "row": ROW,
        "sites": _sites(trials),
        "trials": [_trial_row(trial) for trial in trials[-MOST_ROWS:]],
        "num_left_out": max(0, len(trials) - MOST_ROWS),
        "command": command_of(store, "search", "job.yaml"),
        "rerun": command_of(store, "run", _job_file(chosen)) if chosen is not None else "",
    }


def _job_file(chosen: TrialRecord) -> str:
    full = chosen.full
    assert full is not None
    return f"{full.run}/job.yaml"


def _status(study: StudyRecord) -> dict[str, str]:
    if study.status == "running":
        return {"text": "… running", "tone": "warn"}
    if study.chosen is None:
        return {"text": "✗ no result", "tone": "bad"}
    if not study.meets_budget:
        return {"text": "✗ budget not met", "tone": "bad"}
    if study.unverified:
        return {"text": "… budget met by prediction", "tone": "warn"}
    return {"text": "✓ budget met", "tone": "good"}


def _headline(study: StudyRecord, chosen: TrialRecord | None, trials: list[TrialRecord]) -> str:
    if chosen is None or chosen.full is None:
        return "No trial has come to full fidelity yet."
    figures = chosen.full.figures
    text = (
        f"Trial {chosen.number}: {quantity('bytes', figures['container_bytes'])} at "
        f"{quantity('error', figures['error'])}"
    )
    own = _own(trials)
    if own is not None and chosen.number != 1:
        times = own.figures["container_bytes"] / figures["container_bytes"]
        how = f"{times:.2f}x smaller" if times >= 1 else f"{1 / times:.2f}x larger"
        before = quantity("error", own.figures["error"])
        text += f", {how} than the job's own recipe ({before})"
    sentences = [text, *(f"Not met: {line}" for line in study.unmet)]
    if study.unverified:
        names = ", ".join(title(name) for name in study.unverified)
        sentences.append(f"Unverified: {names}: {who_can_tell(study.unverified)}")
    if study.error_bound is not None:
        sentences.append("The budget bounds no error: at most trial 1's is chosen")
    return " ".join(f"{sentence}." for sentence in sentences)


def _own(trials: list[TrialRecord]) -> Rung | None:
    return next((trial.full for trial in trials if trial.number == 1), None)


def _tiles(
    study: StudyRecord, chosen: TrialRecord | None, trials: list[TrialRecord]
) -> list[dict[str, Any]]:
    own = _own(trials)
    full = chosen.full if chosen is not None else None
    tiles = []
    for name, unit in (("container_bytes", "bytes"), ("error", "%")):
        value = full.figures[name] if full is not None else None
        shown = (
            UNKNOWN if value is None else f"{value:,.0f}" if unit == "bytes" else f"{value:.2f}"
        )
        was = f"own recipe: {quantity(name, own.figures[name])}" if own is not None else ""
        tiles.append({"title": title(name), "figure": shown, "unit": unit, "line": was})
    counts = ", ".join(f"{count} {status}" for status, count in study.num_trials.items())
    tiles.append({"title": "Trials", "figure": f"{len(trials):,}", "unit": "", "line": counts})
    cost = f"cost {study.cost:,.2f}" if study.cost else "no prices given"
    spent = f"{study.elapsed_s / 60:,.1f}"
    tiles.append({"title": "Time", "figure": spent, "unit": "minutes", "line": cost})
    return tiles


def _badge(missed: list[str], unverified: list[str]) -> dict[str, str]:
    if missed:
        return {"tone": "bad", "text": f"✗ missed: {', '.join(missed)}"}
    if unverified:
        return {"tone": "warn", "text": f"… unverified: {', '.join(unverified)}"}
    return {"tone": "good", "text": "✓ met"}


def _front_row(
    trial: TrialRecord, names: list[str], study: StudyRecord, job: Job
) -> dict[str, Any]:
    full, bound = trial.full, study.error_bound
    assert full is not None
    missed = [title(name) for name in full.missed]
    if bound is not None and full.figures["error"] > bound + 1e-9:
        missed.append("trial 1's error")
    cells = []
    for name in names:
        cells.append(quantity(name, full.figures.get(name)) + mark(full, name))
    return {
        "number": trial.number,
        "chosen": trial.number == study.chosen,
        "cells": cells,
        "badge": _badge(missed, [title(name) for name in unverified(job, full)]),
        "settings": _settings(trial),
    }


def _settings(trial: TrialRecord | None) -> list[tuple[str, str]]:
    if trial is None:
        return []
    rows = [(path, _shown(value)) for path, value in trial.values.items()]
    return rows + [(path, "left out") for path in trial.without]


def _targets(chosen: TrialRecord | None) -> list[dict[str, str]]:
    full = chosen.full if chosen is not None else None
    return [
        {
            "name": name,
            "tone": "good" if proof.verdict != "device-required" else "warn",
            "text": proof.words,
            "reason": proof.reason,
        }
        for name, proof in (full.proofs if full is not None else {}).items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return (
        " → ".join(_pass_name(step) for step in value) if isinstance(value, list) else str(value)
    )


def _pass_name(step: Any) -> str:
    return str(next(iter(step))) if isinstance(step, dict) else str(step)


def _passes(store: Store, chosen: TrialRecord | None) -> list[dict[str, str]]:
    """The chosen trial's test points after each pass: error, zeros, bytes."""
    if chosen is None or chosen.full is None:
        return []
    records = Ledger(store.child(chosen.full.run)).records
    rows: list[dict[str, str]] = []
    sparsity: float | None = None
    for record in records:
        if record.stage in ("compress", "retrain"):
            sparsity = record.metrics.get("sparsity", sparsity)
        if record.stage in ("test", "retest"):
            rows.append(_pass_row(record, sparsity, records))
    return rows


def _pass_row(record: Record, sparsity: float | None, records: list[Record]) -> dict[str, str]:
    size = record.metrics["dense_bytes"]
    if record.label == "encode":
        size = next(
            found.metrics["container_bytes"] for found in records if found.label == "encode"
        )
    spent = sum(
        found.duration_s
        for found in records
        if found.label == record.label and found.stage in ("train", "compress", "retrain")
    )
    return {
        "name": record.label or "uncompressed",
        "error": quantity("error", record.metrics["error"]),
        "sparsity": quantity("sparsity", sparsity) if record.label else "",
        "bytes": quantity("bytes", size),
        "time": f"{spent:,.1f} s",
    }


def _sites(trials: list[TrialRecord]) -> list[dict[str, str]]:
    names = sorted({trial.site for trial in trials if trial.site})
    rows = []
    for name in names:
        there = [trial for trial in trials if trial.site == name]
        hours = sum(trial.duration_s for trial in there) / 3600
        prices = sorted({trial.price for trial in there})
        rows.append(
            {
                "site": name,
                "trials": f"{len(there):,}",
                "nodes": f"{len({trial.node for trial in there}):,}",
                "hours": f"{hours:,.3f}",
                "price": ", ".join(f"{price:g}" for price in prices),
                "cost": f"{sum(trial.cost for trial in there):,.4g}",
            }
        )
    return rows


def _trial_row(trial: TrialRecord) -> dict[str, Any]:
    last = trial.last
    figures = last.figures if last is not None else {}
    return {
        "number": trial.number,
        "origin": trial.origin,
        "status": trial.status,
        "tone": _TONES[trial.status],
        "share": f"{100 * last.share:.0f} %" if last is not None else "",
        "bytes": quantity("bytes", figures.get("container_bytes")) if figures else "",
        "error": quantity("error", figures.get("error")) if figures else "",
        "site": trial.site,
        "time": f"{trial.duration_s:,.1f} s",
        "reason": trial.reason,
    }


def is_study(store: Store) -> bool:
    """Whether a folder holds a study rather than a run."""
    return store.exists("study.json")
