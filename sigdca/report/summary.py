"""The table that `sigdca run` prints at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rich.table import Table
from rich.text import Text

from sigdca.report.schema import Report, validate_report
from sigdca.report.wording import UNKNOWN, bound, quantity, title, verdict

_STYLES = {"exact": "green", "tolerance": "green", "device-required": "yellow"}
_MET = {True: ("met", "green"), False: ("missed", "red"), None: ("unverified", "yellow")}


def summary_table(report: Mapping[str, Any] | Report, where: str = "") -> Table:
    """The result in a few lines: error and bytes before and after, the ratio, verdicts, the page.

    Args:
        report: a `Report`, or what `report.json` holds.
        where: path of `report.html`; without it, the page beside the container.

    Raises:
        FormatError: the report is not what `schema.Report` says.
    """
    checked = validate_report(report)
    best, baseline = checked.best, checked.baseline
    table = Table(title=Text(f"{checked.name}: {checked.status}"), title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_row(
        "error",
        quantity("error", baseline.error if baseline else None),
        quantity("error", best.error if best else None),
    )
    table.add_row(
        "bytes",
        f"{baseline.dense_bytes:,}" if baseline else UNKNOWN,
        f"{best.container_bytes:,}" if best else UNKNOWN,
    )
    table.add_row("ratio", "", quantity("ratio", best.compression_ratio if best else None))
    table.add_section()
    for line in checked.budget:
        said, style = _MET[line.met]
        table.add_row(Text(title(line.name)), Text(bound(line)), Text(said, style=style))
    table.add_section()
    for target in checked.targets:
        table.add_row(
            Text(target.target),
            "emulated" if target.emulated else "",
            Text(verdict(target), style=_STYLES[target.verdict]),
        )
    page = where or (str(PurePosixPath(best.path).with_name("report.html")) if best else "")
    if page:
        table.caption = Text(f"report: {page}")
        table.caption_justify = "left"
    return table
