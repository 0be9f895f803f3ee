"""The verbs on what sigdca knows: `targets` and `data get`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from sigdca.cli.output import errors, print_json, results

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(targets)
    data = typer.Typer(help="Data sources.", no_args_is_help=True, rich_markup_mode=None)
    data.callback()(_data)
    data.command("get")(get)
    app.add_typer(data, name="data")


def _data() -> None:
    """Data sources."""


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a data source, such as mnist")],
    as_json: Json = False,
) -> int:
    """Fetch a data source into the cache.

    Example: sigdca data get mnist
    """
    from sigdca.data import fetch

    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tasks = {}

        def show(what: str, num_done: int, num_all: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=num_all)
            bars.update(tasks[what], completed=num_done, total=num_all)

        paths = fetch(name, show)
    found = {split: str(path) for split, path in paths.items()}
    if as_json:
        print_json({"name": name, "splits": found})
    else:
        for split, path in found.items():
            results.print(f"{split}: {path}", soft_wrap=True)
    return 0


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
