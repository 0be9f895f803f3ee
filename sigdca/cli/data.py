"""The verbs on data: `data get` and `data import`."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from sigdca.cli.jobs import lasting
from sigdca.cli.output import errors, print_json, results
from sigdca.errors import JobError
from sigdca.storage import Store, open_store

if TYPE_CHECKING:
    from sigdca.data.importing import Plan, Shape, ShardResult
    from sigdca.data.manifest import Manifest

SHOWN_DAMAGED = 5

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    data = typer.Typer(help="Data sources.", no_args_is_help=True, rich_markup_mode=None)
    data.callback()(_data)
    data.command("get")(get)
    data.command("import")(import_folder)
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


def import_folder(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="train/CLASS/*.jpg and val/ or test/ likewise")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="an empty place: ./folder or s3://bucket/folder")
    ],
    size: Annotated[str, typer.Option(metavar="H,W", help="pixels of an image, such as 224,224")],
    grey: Annotated[bool, typer.Option("--grey", help="one channel; default: RGB")] = False,
    resize: Annotated[
        int | None,
        typer.Option(min=1, help="pixels of the shorter side, before the centre crop"),
    ] = None,
    test_from: Annotated[
        str | None, typer.Option(help="the folder of test images; default: test, else val")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="classes of test images without class folders: FILE CLASS, or CLASS, a line",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="what reports call it; default: the last part of DEST")
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="leave out images that cannot be decoded")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="a cluster started here has at least N CPUs")
    ] = 1,
    address: Annotated[
        str | None, typer.Option(help="a running Ray cluster; default: one started here")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make a data set of a folder of images.

    Images are resized, cropped and written as Parquet, by Ray Data. A job takes the result by its
    address. The same command goes on with an import that was interrupted.

    Example: sigdca data import ./imagenet /nfs/imagenet-224 --size 224,224 --resize 256
    """
    from sigdca.data.folder import list_folder
    from sigdca.data.importing import Plan, begin, finish

    shape = _shape(size, grey, resize)
    if name:
        _check_name(name)
    destination = lasting(destination)
    source, store = open_store(folder), open_store(destination)
    if not source.is_folder:
        raise JobError(f"{folder}: no such folder")
    found = list_folder(source, folder.rstrip("/"), test_from, labels)
    plan = Plan(source, store, found, shape, name or _name_of(destination), skip_damaged)
    with _locked(store):
        begin(plan, destination)
        done = _on_cluster(plan, workers, address)
        manifest = finish(plan, done)
    _show(destination, manifest, done, as_json)
    return 0


def _on_cluster(plan: Plan, workers: int, address: str | None) -> list[ShardResult]:
    from sigdca.distributed import connect

    # Ray tells what its nodes say on standard output, which is for results alone.
    with (
        contextlib.redirect_stdout(sys.stderr),
        connect(address, workers) as executor,
        _bar(sum(map(len, plan.folder.splits.values()))) as show,
    ):
        return executor.import_images(plan, show)


@contextlib.contextmanager
def _bar(num_images: int) -> Iterator[Callable[[ShardResult], None]]:
    """Shows how many images are done, to people."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task("images", total=num_images)

        def show(result: ShardResult) -> None:
            bars.update(task, advance=result.num_images + len(result.damaged))

        yield show


@contextlib.contextmanager
def _locked(store: Store) -> Iterator[None]:
    """Keeps the destination to this process."""
    parent, _, name = store.root.rpartition("/")
    with Store(store.filesystem, parent).lock(name):
        yield


def _shape(size: str, grey: bool, resize: int | None) -> Shape:
    from sigdca.data.importing import Shape
    from sigdca.data.manifest import MAX_AXIS, MAX_IMAGE_BYTES

    given = re.fullmatch(r"(\d{1,6}),(\d{1,6})", size)
    height, width = map(int, given.groups()) if given else (0, 0)
    if not (1 <= height <= MAX_AXIS and 1 <= width <= MAX_AXIS):
        raise JobError(f"--size: must be H,W, each 1 to {MAX_AXIS}, such as 224,224; got '{size}'")
    least = max(height, width)
    if resize is not None and not least <= resize <= MAX_AXIS:
        raise JobError(f"--resize: must be {least} to {MAX_AXIS}, got {resize}")
    shape = (1 if grey else 3, height, width)
    if math.prod(shape) > MAX_IMAGE_BYTES:
        raise JobError(
            f"--size: an image may have {MAX_IMAGE_BYTES} bytes, {size} gives {math.prod(shape)}"
        )
    return Shape(shape, resize)


def _check_name(name: str) -> None:
    from sigdca.data.manifest import NAME

    if re.fullmatch(NAME, name) is None:
        raise JobError(
            "--name: must be letters, digits, '.', '_' and '-', at most 100, and begin with a "
            f"letter or digit, such as {_name_of(name)}; got '{name}'"
        )


def _name_of(destination: str) -> str:
    """The last part of an address, as far as it may be a name."""
    last = destination.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", last)[:100] or "images"


def _show(destination: str, manifest: Manifest, done: list[ShardResult], as_json: bool) -> None:
    damaged = sorted(line for result in done for line in result.damaged)
    counts = {str(name): split.num_images for name, split in manifest.splits.items()}
    for line in damaged[:SHOWN_DAMAGED]:
        errors.print(f"left out: {line}", soft_wrap=True)
    if len(damaged) > SHOWN_DAMAGED:
        errors.print(f"left out: {len(damaged) - SHOWN_DAMAGED} more")
    if as_json:
        print_json(
            {
                "name": manifest.name,
                "address": destination,
                "num_classes": len(manifest.classes),
                "input_shape": manifest.input_shape,
                "splits": counts,
                "num_damaged": len(damaged),
            }
        )
        return
    shown = ", ".join(f"{count:,} {name} images" for name, count in counts.items())
    left_out = f", {len(damaged)} left out" if damaged else ""
    results.print(
        f"{destination}: {shown} of {len(manifest.classes)} classes{left_out}", soft_wrap=True
    )
