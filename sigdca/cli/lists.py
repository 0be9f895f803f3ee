"""The verbs on what sigdca knows: `targets`, `targets probe` and those of `predicting`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from sigdca.cli import predicting
from sigdca.cli.output import print_json, results

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback()(targets)
    group.command("probe")(probe_targets)
    predicting.add_to(group)
    app.add_typer(group, name="targets")


def targets(context: typer.Context, as_json: Json = False) -> int:
    """List the targets, and what emulates them.

    Example: sigdca targets --json
    """
    if context.invoked_subcommand is not None:
        return 0
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


def probe_targets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="default: what this board is, most exactly"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare this board with what a target's file says. Ends with 1 if they differ.

    Example: sigdca targets probe jetson-tx2-cpu
    """
    from sigdca.targets import load_target, probe, this_board

    target = load_target(name) if name else this_board()
    name = name or target.name
    rows = probe(target)
    if as_json:
        print_json({name: [asdict(row) for row in rows]})
    else:
        table = Table("figure", "file", "this board", "", title=name, title_justify="left")
        for row in rows:
            mark = {True: "agrees", False: "DIFFERS", None: "unknown"}[row.agrees]
            table.add_row(row.figure, row.says, row.found, mark)
        results.print(table)
    return int(any(row.agrees is False for row in rows))
