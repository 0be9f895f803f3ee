"""The verbs on a board; those that join a cluster, acquire and train have modules of their own."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sigdca.cli import acquiring
from sigdca.cli.containers import read_file
from sigdca.cli.edge_testing import edge_test
from sigdca.cli.joining import join
from sigdca.cli.output import errors, print_json, results
from sigdca.cli.signing import newest
from sigdca.cli.tuning import apply, train
from sigdca.errors import TargetError

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="the folder that `edge setup` made")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    edge = typer.Typer(help="On a board.", no_args_is_help=True, rich_markup_mode=None)
    edge.command()(join)
    edge.command("test")(edge_test)
    edge.command()(setup)
    edge.command()(update)
    edge.command()(status)
    edge.command()(power)
    acquiring.add_to(edge)
    edge.command()(train)
    edge.command()(apply)
    as_given = {"allow_extra_args": True, "ignore_unknown_options": True}
    edge.command(add_help_option=False, context_settings=as_given)(infer)
    app.add_typer(edge, name="edge")


def setup(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="a folder on the board's disk")],
    target: Annotated[str, typer.Option(help="what this board is")],
    key: Annotated[list[str], typer.Option(help="a public key that it trusts; may be repeated")],
    channel: Annotated[str, typer.Option(help="stable or canary")] = "stable",
    trial_s: Annotated[float, typer.Option(help="how long an update is on trial")] = 60.0,
    max_starts: Annotated[int, typer.Option(help="starts on trial before it is a crash loop")] = 3,
    max_missed: Annotated[float, typer.Option(help="share of deadlines it may miss")] = 0.01,
) -> int:
    """Make a folder that takes signed updates. Done again, it changes the settings alone.

    With other keys, the model that is installed goes on until an update by one of these.

    Example: sigdca edge setup /var/lib/sigdca --target jetson-tx2-cpu --key release.pub
    """
    from sigdca.edge.keys import load_public_key, public_text
    from sigdca.edge.update import Settings, set_up
    from sigdca.targets import load_target

    settings = Settings(
        target=load_target(target).name,
        channel=channel,
        keys=tuple(public_text(load_public_key(Path(name))) for name in key),
        trial_s=trial_s,
        give_up_s=max(600.0, trial_s),
        max_starts=max_starts,
        max_missed=max_missed,
    )
    set_up(root, settings)
    errors.print(f"{root}: takes updates for {settings.target} ({channel})")
    return 0


def update(
    root: Root,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="a .dcu, or where `publish` publishes to")
    ],
) -> int:
    """Install a signed update; whoever runs `edge infer` goes over to it.

    It is refused unless it is signed, for this target and channel, newer than all that was live
    here, and passes its self-test on this board.

    Example: sigdca edge update /var/lib/sigdca s3://lab/releases
    """
    from sigdca.edge.slots import read_bundle
    from sigdca.edge.update import Device

    device = Device(root)
    if "://" in source or Path(source).is_dir():
        channel, target = device.settings.channel, device.settings.target
        content = newest(source, channel, target, newer_than=device.state().floor)
        if content is None:
            errors.print(f"{root}: nothing newer in channel '{channel}'")
            return 0
    else:
        content = read_bundle(Path(source))
    device.install(content)
    errors.print(f"{root}: {device.state().note}")
    return 0


def status(root: Root, as_json: Json = False) -> int:
    """Show what is live on this board, and what happened last.

    Example: sigdca edge status /var/lib/sigdca --json
    """
    from sigdca.edge.update import Device

    device = Device(root)
    told: dict[str, Any] = asdict(device.state())
    try:
        live = device.live()
        told["live"] = asdict(live.manifest) | {"on_trial": live.on_trial}
        line = f"version {live.manifest.version} of {live.manifest.model} is live"
        line += ", on trial" if live.on_trial else ""
    except TargetError as error:
        told["live"], line = None, str(error)
    told |= {"target": device.settings.target, "channel": device.settings.channel}
    if as_json:
        print_json(told)
    else:
        results.print(f"{line}\nlast: {told['note'] or 'nothing yet'}")
    return 0


def power(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a .dca")],
    meter: Annotated[
        str, typer.Option(help="auto, ina3221, tegrastats, rapl, or file:PATH")
    ] = "auto",
    seconds: Annotated[float, typer.Option(min=1, help="how long the model runs")] = 10.0,
    idle_s: Annotated[float, typer.Option(min=1, help="how long the board idles before")] = 5.0,
    profile: Annotated[str, typer.Option(help="exact, fast or int8")] = "fast",
    threads: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Json = False,
) -> int:
    """Measure the energy of an inference on this board, its idle share taken off.

    Where there is no meter, it says `unavailable`, and why.

    Example: sigdca edge power model.dca --meter ina3221
    """
    from sigdca.edge.ready import Ready
    from sigdca.targets.meters import UnavailableError, find_meter
    from sigdca.targets.power import measure_energy

    read_file(file)  # one that cannot be read is bad input, not a fault on the way
    ready = Ready(Path(file), profile, threads, 0, Path(file).stem)

    def work() -> int:
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            ready.call()
            count += 1
        return count

    try:
        found = measure_energy(find_meter(meter), work, idle_s)
    except UnavailableError as error:
        if as_json:
            print_json({"energy_mj": None, "unavailable": str(error)})
        else:
            results.print(str(error), soft_wrap=True)
        return 0
    if as_json:
        print_json(asdict(found))
    else:
        results.print(
            f"{found.energy_mj:.4g} mJ an inference (with the idle share "
            f"{found.gross_energy_mj:.4g}); {found.active_mw:.0f} mW at work, {found.idle_mw:.0f} "
            f"idle; {found.num_inferences} inferences, {found.meter}"
        )
    return 0


def infer(context: typer.Context) -> None:
    """Run a model in real time: frames in, results out, a deadline for each.

    Example: sigdca edge infer model.dca --frames camera:/dev/video0 --deadline-ms 20
    """
    # Becomes a process without typer and pyarrow, which take more memory than all of it may.
    command = [sys.executable, "-m", "sigdca.edge.infer", *context.args]
    sys.stdout.flush()
    # numpy computes nothing there: its BLAS needs no threads of its own beside the loop.
    os.execve(sys.executable, command, {"OPENBLAS_NUM_THREADS": "1"} | os.environ)
