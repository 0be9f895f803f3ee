"""The verbs `edge train` on a board, and `edge apply` on the server that gets its delta."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sigdca.cli.containers import Json, Output, read_file
from sigdca.cli.output import errors, print_json, results
from sigdca.edge.limits import MEGABYTE
from sigdca.errors import JobError, SigdcaError
from sigdca.storage import write_file


def train(
    data: Annotated[
        str, typer.Option(help="the folder that `edge acquire` fills, or a data set's train split")
    ],
    output: Output,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="a .dca")] = None,
    device: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="tune what is live there instead")
    ] = None,
    epochs: Annotated[int, typer.Option(help="over the samples")] = 20,
    learning_rate: Annotated[float, typer.Option(help="as a share of a value's size")] = 0.03,
    time_limit_s: Annotated[float | None, typer.Option(help="end with the best by then")] = None,
    memory_limit_mb: Annotated[float | None, typer.Option(help="of this process")] = None,
    max_delta_bytes: Annotated[int, typer.Option(help="what may be sent")] = 8192,
    seed: Annotated[int, typer.Option(help="which samples are held out, and the order")] = 0,
    as_json: Json = False,
) -> int:
    """Tune a container to new labelled samples, on the board that runs it.

    Writes a delta of a few kilobytes and sends nothing. A fifth of the samples decides what is
    kept; if nothing was better there, no delta is written, and the exit code is 1. Needs torch.

    Example: sigdca edge train --device /var/lib/sigdca --data /var/lib/acquired -o today.dcd
    """
    from sigdca.edge.train_data import labelled_samples
    from sigdca.edge.train_leg import run_train_leg
    from sigdca.edge.train_plan import TrainConfig

    config = TrainConfig(
        epochs=epochs,
        learning_rate=learning_rate,
        time_limit_s=time_limit_s,
        memory_limit_bytes=None if memory_limit_mb is None else int(memory_limit_mb * MEGABYTE),
        max_delta_bytes=max_delta_bytes,
        seed=seed,
    )
    model = _model(file, device)
    try:
        samples = labelled_samples(data)
        leg = run_train_leg(model, samples.images, samples.labels, config)
    except KeyboardInterrupt as error:
        raise SigdcaError("edge train: interrupted; nothing was written") from error
    if leg.delta is not None:
        write_file(output, leg.delta)
    if as_json:
        told: dict[str, Any] = asdict(leg) | {"delta": None, "delta_bytes": None}
        if leg.delta is not None:
            told |= {"delta": output, "delta_bytes": len(leg.delta)}
        print_json(told)
    else:
        written = "no delta" if leg.delta is None else f"{output}: {len(leg.delta):,} bytes"
        results.print(
            f"{written}: {leg.reason} ({leg.num_epochs} epochs, {leg.duration_s:.0f} s, "
            f"{leg.peak_bytes / MEGABYTE:.0f} MB)",
            soft_wrap=True,
        )
    return 0 if leg.delta is not None else 1


def apply(
    base: Annotated[str, typer.Argument(metavar="BASE", help="the .dca that the board tuned")],
    delta: Annotated[str, typer.Argument(metavar="DELTA", help="what `edge train` wrote")],
    output: Output,
    as_json: Json = False,
) -> int:
    """Make the container that a board's delta leads to.

    It has the very bytes that the board had; test it like any other.

    Example: sigdca edge apply model.dca today.dcd -o tuned.dca
    """
    from sigdca.edge.delta import apply_delta, read_delta

    content = read_file(delta)
    info = read_delta(content)
    result = apply_delta(read_file(base), content)
    write_file(output, result)
    if as_json:
        told = asdict(info) | {"file": output, "container_bytes": len(result)}
        print_json(told | {"delta_bytes": len(content)})
    else:
        errors.print(
            f"wrote {output}: {info.accuracy_after:.2f} % instead of {info.accuracy_before:.2f} % "
            f"right on {info.evidence.num_held_out} samples that the board held out"
            if info.accuracy_before is not None and info.accuracy_after is not None
            else f"wrote {output}"
        )
    return 0


def _model(file: str | None, device: Path | None) -> bytes:
    if file is not None and device is None:
        return read_file(file)
    if device is not None and file is None:
        from sigdca.edge.update import Device

        return Device(device).live().container
    raise JobError("edge train: give either a .dca or --device ROOT")
