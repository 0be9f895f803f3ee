"""The verb on what sigdca knows: `targets`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from sigdca.cli.output import print_json, results

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(targets)


def targets(as_json: Json = False) -> int:
    """List the targets, and what emulates them.

    Example: sigdca targets --json
    """
    from sigdca.errors import TargetError
    from sigdca.targets import find_emulator, load_target, target_names

    rows = []
    for name in target_names():
        target = load_target(name)
        try:
            emulation = find_emulator(target).version
        except TargetError as error:
            emulation = f"no: {error}"
        rows.append({"name": name, "description": target.description, "emulation": emulation})
    if as_json:
        print_json({"targets": rows})
        return 0
    table = Table("target", "what", "emulation here")
    for row in rows:
        table.add_row(*row.values())
    results.print(table)
    return 0
