"""`edge join`: this machine becomes a node of a cluster, labelled as the board it is."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sigdca.errors import JobError


def join(
    address: Annotated[str, typer.Option(help="the head, host:6379")],
    target: Annotated[str, typer.Option(help="what this board is, or with --emulated stands for")],
    emulated: Annotated[
        bool, typer.Option("--emulated", help="this machine emulates the target")
    ] = False,
    num_cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs it offers; default: all")
    ] = None,
    node_ip: Annotated[
        str | None, typer.Option(help="by which of its addresses the others reach it")
    ] = None,
    fixed_ports: Annotated[
        bool, typer.Option("--fixed-ports", help="those of docs/own-cluster.md, for firewalls")
    ] = False,
    meter: Annotated[
        str,
        typer.Option(
            envvar="SIGDCA_METER",
            help="what searches read its power from: as `edge power --meter`",
        ),
    ] = "auto",
) -> int:
    """Join a cluster as a board, until the node ends.

    It stays in the foreground: let a supervisor start it again (cluster/sigdca-board.service), for
    a node ends itself when its link was cut. The token and TLS are Ray's own variables.

    Example: sigdca edge join --address head:6379 --target jetson-tx2-cpu
    """
    from sigdca.distributed.joining import board_command, check_join
    from sigdca.targets import load_target
    from sigdca.targets.meters import METER_VARIABLE, find_meter

    board = load_target(target)
    if not emulated and (why := board.why_not_here()) is not None:
        raise JobError(
            f"--target {target}: this machine is not one: {why}; --emulated lets it stand in"
        )
    if meter != "auto":  # a kind that this board lacks; a file may come later
        find_meter(meter)
    check_join(address)
    command = board_command(
        address,
        board,
        emulated=emulated,
        num_cpus=num_cpus or os.cpu_count() or 1,
        node_ip=node_ip,
        fixed_ports=fixed_ports,
    )
    os.environ[METER_VARIABLE] = meter  # the processes of its legs have it from here
    os.execv(command[0], command)
