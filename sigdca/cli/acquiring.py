"""The verbs of new data on a board: `edge acquire`, `samples`, `label`, `send`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sigdca.cli.output import errors, print_json, results
from sigdca.errors import JobError, StorageError

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="the folder of `edge acquire`")]
Classes = Annotated[
    Path | None,
    typer.Option(help="a text file with the name of each label, 0 first, one a line"),
]
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def add_to(edge: typer.Typer) -> None:
    """Adds the verbs to `edge`."""
    edge.command()(acquire)
    edge.command()(samples)
    edge.command()(label)
    edge.command()(send)


def acquire(
    store: Annotated[Path, typer.Option(help="the folder that samples are kept in")],
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="a .dca")] = None,
    device: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="instead: what is live there")
    ] = None,
    frames: Annotated[str, typer.Option(help="-, camera:/dev/videoN, a file or a folder")] = "-",
    prefixed: Annotated[
        bool, typer.Option("--prefixed", help="each frame on stdin has its length before it")
    ] = False,
    fps: Annotated[float | None, typer.Option(help="frames a second, of files, cameras")] = None,
    limit: Annotated[int | None, typer.Option(help="end after so many frames")] = None,
    labelled: Annotated[
        bool, typer.Option("--labelled", help="frames are CLASS/FILE: their labels are known")
    ] = False,
    classes: Classes = None,
    most_bytes: Annotated[
        str | None,
        typer.Option(help="of all samples, such as 200MB; default: as before, at first 1GB"),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="only frames whose class is less ahead than this")
    ] = 0.5,
    share: Annotated[
        float, typer.Option(help="at most this share of all frames: the least certain")
    ] = 0.05,
    every_s: Annotated[
        float, typer.Option(min=0.1, help="write to the disk after so many seconds")
    ] = 60.0,
    private: Annotated[
        bool, typer.Option("--private", help="samples never leave this board, from now on")
    ] = False,
    board: Annotated[
        str | None, typer.Option(help="this board's name; default: the machine's")
    ] = None,
    as_json: Json = False,
) -> int:
    """Keep the frames that are worth labelling, in a bounded store.

    Those of which the model is least certain, and no two alike.

    Example: sigdca edge acquire model.dca --frames camera:/dev/video0 --store /data/new
    """
    from sigdca.edge.acquire import Acquiring, FileModel, LiveModel, by_class
    from sigdca.edge.acquired import About, make_store, most_bytes_of
    from sigdca.edge.choice import BUFFER_BYTES, Chooser, Rules
    from sigdca.edge.frames import open_frames

    if (model is None) == (device is None):
        raise JobError("acquire: give a MODEL.dca, or --device ROOT")
    if not 0 < share <= 1:
        raise JobError(f"--share: must be above 0 and at most 1, got {share:g}")
    _step_back()
    source = FileModel(model) if model is not None else LiveModel(Path(device or ""))
    shape, num_classes = source.ready.shape, source.ready.logits.shape[1]
    names = _labels(classes, num_classes)
    most = most_bytes_of(store) if most_bytes is None else _bytes(most_bytes)
    kept = make_store(store, About(board or _board(), shape, num_classes, most, private))
    chooser = Chooser(Rules(margin, share), min(BUFFER_BYTES, most // 4))
    acquiring = Acquiring(source, kept, chooser, every_s, limit)
    signal.signal(signal.SIGTERM, acquiring.stop)
    signal.signal(signal.SIGINT, acquiring.stop)
    if labelled:
        for some, number in by_class(Path(frames), shape, names):
            acquiring.run(some, number)
    else:
        drop = frames.startswith("camera:")
        opened = open_frames(frames, shape, fps=fps, repeat=False, prefixed=prefixed, drop=drop)
        try:
            acquiring.run(opened)
        finally:
            opened.close()
    _show_store(store, asdict(acquiring.told), as_json)
    return 0


def samples(
    store: StorePath,
    to: Annotated[
        Path | None, typer.Option(help="write those without labels there, with labels.csv")
    ] = None,
    at_most: Annotated[int, typer.Option(min=1, help="so many, the least certain")] = 100,
    as_json: Json = False,
) -> int:
    """Show what a store holds, or write out what is worth labelling.

    Fill in the column `label` of labels.csv, or sort the pictures into folders of classes.

    Example: sigdca edge samples /data/new --to look-at-these
    """
    from sigdca.edge.acquired import Acquired
    from sigdca.edge.labels import write_unlabelled

    told: dict[str, Any] = {}
    if to is not None:
        told["written"] = write_unlabelled(Acquired(store), to, at_most)
    _show_store(store, told, as_json)
    return 0


def label(
    store: StorePath,
    source: Annotated[
        Path, typer.Option("--from", help="labels.csv of `edge samples`, or a folder CLASS/ID.pgm")
    ],
    classes: Classes = None,
    as_json: Json = False,
) -> int:
    """Give samples the labels that a person found.

    Example: sigdca edge label /data/new --from look-at-these/labels.csv
    """
    from sigdca.edge.acquired import Acquired
    from sigdca.edge.labels import read_labels

    opened = Acquired(store)
    found = read_labels(source, _labels(classes, opened.about.num_classes))
    count = opened.label(found)
    _show_store(store, {"given": count, "not_there": len(found) - count}, as_json)
    return 0


def send(
    store: StorePath,
    to: Annotated[str, typer.Option(help="where servers look: a folder or s3://bucket/folder")],
    delta: Annotated[
        list[Path] | None,
        typer.Option(help="a delta of `edge train` instead of samples; may be repeated"),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="samples without labels too")
    ] = False,
    as_json: Json = False,
) -> int:
    """Send labelled samples to the servers; what was sent is not sent again.

    A private store sends nothing but deltas.

    Example: sigdca edge send /data/new --to s3://lab/new-data
    """
    from sigdca.edge.acquired import Acquired
    from sigdca.edge.sending import send_delta, send_samples
    from sigdca.storage import open_store

    opened = Acquired(store)
    told: dict[str, Any] = {"board": opened.about.board, "to": to}
    if delta:
        there = open_store(to)
        for path in delta:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise StorageError(f"{path}: cannot read: {error.strerror}") from error
            send_delta(opened.about.board, content, there)
        told["deltas"] = len(delta)
    else:
        told |= asdict(send_samples(opened, to, unlabelled=unlabelled))
    if as_json:
        print_json(told)
    elif delta:
        errors.print(f"sent {len(delta)} deltas to {to}", soft_wrap=True)
    else:
        errors.print(
            f"sent {told['samples']} samples, {told['bytes']:,} bytes, to {to}", soft_wrap=True
        )
    return 0


def _step_back() -> None:
    """What runs in real time on this board comes first, even if it has started this process."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(10)


def _show_store(root: Path, more: dict[str, Any], as_json: bool) -> None:
    from sigdca.edge.acquired import Acquired

    opened = Acquired(root)
    counts = opened.counts()
    told: dict[str, Any] = asdict(opened.about) | {"store": asdict(counts)} | more
    if as_json:
        print_json(told)
        return
    for name, value in more.items():
        results.print(f"{name.replace('_', ' ')}: {value}")
    private = ", private" if opened.about.private else ""
    results.print(
        f"{root}: {counts.samples} samples, {counts.labelled} with labels, {counts.bytes:,} of "
        f"{opened.about.most_bytes:,} bytes{private}",
        soft_wrap=True,
    )


def _labels(classes: Path | None, num_classes: int) -> Any:
    from sigdca.edge.labels import Labels

    if classes is None:
        return Labels(None, num_classes)
    try:
        text = classes.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise StorageError(f"{classes}: cannot read: {reason}") from error
    return Labels(filter(None, map(str.strip, text.splitlines())), num_classes)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise JobError(f"--most-bytes: must be such as 500MB or 2GiB, got '{text}'")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _board() -> str:
    """The machine's name, as far as it may be a board's."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", socket.gethostname())[:63] or "board"
