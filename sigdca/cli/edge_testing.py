"""The verb `edge test`: one container on targets, against this machine's logits."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sigdca.cli.containers import Data, Json, read_file
from sigdca.cli.output import errors, print_json, results
from sigdca.codec import inspect_container

if TYPE_CHECKING:
    from sigdca.loop import Executor


def edge_test(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .dca")],
    target: Annotated[list[str], typer.Option(help="a target's name or file; may be repeated")],
    data: Data = "mnist",
    limit: Annotated[int | None, typer.Option(min=1, help="only the first N images")] = None,
    address: Annotated[
        str | None, typer.Option(help="the Ray cluster that boards have joined; default: emulated")
    ] = None,
    as_json: Json = False,
) -> int:
    """Test a container on targets: do they give the very logits that servers give?

    On the boards of a cluster with --address, else on this machine's emulators. Ends with 1 if a
    verdict is device-required. On a board itself, `dca-run test` gives the logits' sha256, which
    must be that of `sigdca test` on a server.

    Example: sigdca edge test model.dca --target atom-x5-e3940 --limit 1000
    """
    container = read_file(file)
    inspect_container(container)
    from sigdca.data import check_split, find_source
    from sigdca.job import DataSource, EdgeTest
    from sigdca.loop import legs_of
    from sigdca.loop.dataset import num_first
    from sigdca.targets import load_target

    check_split(find_source(data), "test")
    for name in target:
        load_target(name)
    source = DataSource(source=data)
    num_samples = num_first(source, "test", limit)
    with _executor(address) as executor:
        legs = legs_of(executor, container, target, source, num_samples, EdgeTest())
    if as_json:
        print_json({"file": file, "data": data, "legs": [asdict(leg) for leg in legs.values()]})
    else:
        table = Table("target", "error", "verdict", "logits sha256")
        for leg in legs.values():
            error = "" if leg.error is None else f"{leg.error:.2f} %"
            evidence = f" ({leg.evidence})" if leg.evidence else ""
            digest = (leg.logits_sha256 or "")[:16]
            table.add_row(leg.target, error, f"{leg.verdict}{evidence}", digest)
        results.print(table)
        for leg in legs.values():
            named = leg.reason if leg.target in leg.reason else f"{leg.target}: {leg.reason}"
            errors.print(named, soft_wrap=True)
    return 1 if any(leg.verdict == "device-required" for leg in legs.values()) else 0


@contextlib.contextmanager
def _executor(address: str | None) -> Iterator[Executor]:
    if address is None:
        from sigdca.loop import LocalExecutor

        yield LocalExecutor()
        return
    from sigdca.distributed import connect

    # Ray tells what its nodes say on standard output, which is for results alone.
    with contextlib.redirect_stdout(sys.stderr), connect(address, 1) as executor:
        yield executor
