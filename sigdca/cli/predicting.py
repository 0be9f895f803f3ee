"""The verbs `targets calibrate` and `targets predict`."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sigdca.cli.containers import read_file
from sigdca.cli.output import errors, print_json, results
from sigdca.errors import FormatError
from sigdca.storage import write_file

if TYPE_CHECKING:
    from sigdca.targets import Calibration, Prediction, Target

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


class Profile(str, Enum):
    """How the native library computes."""

    exact = "exact"
    fast = "fast"
    int8 = "int8"


def add_to(group: typer.Typer) -> None:
    """Adds the verbs to `targets`."""
    group.command("calibrate")(calibrate_target)
    group.command("predict")(predict_latency)


def calibrate_target(
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="file to write")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="default: what this board is, most exactly"),
    ] = None,
    profile: Annotated[
        Profile, typer.Option(help="of the native library; test legs use exact")
    ] = Profile.exact,
    as_json: Json = False,
) -> int:
    """Measure this board's kernels, so that `targets predict` need not guess them.

    Runs 250 small networks for some seconds to minutes. Nothing else should be at work.

    Example: sigdca targets calibrate jetson-tx2-cpu -o jetson-tx2-cpu.calibration.json
    """
    from sigdca.targets import load_target, this_board
    from sigdca.targets.calibrate import calibrate

    board = load_target(target) if target else this_board("native")
    found = calibrate(board, profile.value, tell=lambda line: errors.print(f"{line} ..."))
    write_file(output, found.model_dump_json(indent=1).encode())
    if as_json:
        print_json({"file": output} | found.model_dump(exclude={"microseconds"}))
        return 0
    low, high = found.band
    results.print(
        f"{output}: {found.target} ({found.isa}, {found.profile}), fitted to "
        f"{found.num_networks} networks; of networks it has not seen, half are within "
        f"{100 * found.median_error:.1f} %, nine in ten take {low:.2f} to {high:.2f} times "
        "what is predicted",
        soft_wrap=True,
    )
    return 0


def predict_latency(
    model: Annotated[str, typer.Argument(metavar="MODEL.dca", help="a container")],
    target: Annotated[str, typer.Argument(help="a target's name, or its .toml file")],
    calibration: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="of such a board; default: the target's own, if any"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Predict a container's latency and memory on a target that is not here.

    At batch 1, on one core or the GPU, layer by layer and as a whole, with a band of error.
    Without a calibration the band is wide. Memory is the most that the container and the native
    engine hold at once; of another engine nobody knows it.

    Example: sigdca targets predict model.dca atom-x5-e3940 --calibration board.json
    """
    from sigdca.codec import inspect_container
    from sigdca.targets import calibration_of, load_calibration, load_target, predict
    from sigdca.targets.memory import memory_bytes

    kind = load_target(target)
    measured = load_calibration(calibration) if calibration else calibration_of(target)
    content = read_file(model)
    try:
        info = inspect_container(content)
    except FormatError as error:
        raise FormatError(f"{model}: {error}") from error
    found, memory = predict(kind, info, measured), memory_bytes(kind, content)
    if as_json:
        board = measured and measured.model_dump(exclude={"microseconds"})
        told = {"model": model, "target": kind.name, "predicted": True, "memory_bytes": memory}
        print_json(told | asdict(found) | {"calibration": board})
    else:
        _show(found, memory, kind, measured)
    return 0


def _show(
    found: Prediction, memory: int | None, target: Target, measured: Calibration | None
) -> None:
    table = Table("step", "predicted us", "share")
    for step in found.steps:
        share = f"{100 * step.latency_us / found.latency_us:.1f} %"
        table.add_row(step.name, f"{step.latency_us:,.2f}", share)
    results.print(table)
    basis = (
        "roofline of the target's file; calibrate such a board for a narrow band"
        if measured is None
        else f"calibration of {measured.processor}, {measured.num_networks} networks; nine in "
        "ten lie within the band"
    )
    results.print(
        f"predicted for {target.name}: {found.latency_us:,.1f} us, {found.low_us:,.1f} to "
        f"{found.high_us:,.1f} us ({basis})",
        soft_wrap=True,
    )
    if memory is not None:
        results.print(
            f"predicted memory: {memory:,} bytes, container and native engine; of a session here",
            soft_wrap=True,
        )
