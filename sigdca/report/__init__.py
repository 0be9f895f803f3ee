"""What a run leaves for people: `report.json`, typed in `schema`; the page; a summary table."""

from sigdca.report.collect import collect_report, command_of
from sigdca.report.page import build_report
from sigdca.report.schema import (
    Baseline,
    Best,
    BudgetLine,
    Epoch,
    Layer,
    LayerParts,
    Report,
    TargetResult,
    TestPoint,
    dump_report,
    validate_report,
)
from sigdca.report.study import build_study_report, is_study
from sigdca.report.summary import summary_table

__all__ = [
    "Baseline",
    "Best",
    "BudgetLine",
    "Epoch",
    "Layer",
    "LayerParts",
    "Report",
    "TargetResult",
    "TestPoint",
    "build_report",
    "build_study_report",
    "collect_report",
    "command_of",
    "dump_report",
    "is_study",
    "summary_table",
    "validate_report",
]
