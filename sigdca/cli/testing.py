"""The verb `test`: one network, or many candidates at once, on the same test images."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sigdca.cli.containers import Data, Json, ModelName, open_weights, read_file
from sigdca.cli.output import print_json, results
from sigdca.codec import inspect_container

if TYPE_CHECKING:
    from sigdca.engines import Engine
    from sigdca.loop import TestTask
    from sigdca.training import TestCounts


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("test")(run_test)


def run_test(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help=".dca, or with --model weights files")
    ],
    data: Data = "mnist",
    engine: Annotated[
        str | None,
        typer.Option(
            help="native (default for a container), onnxruntime, openvino, torch, tensorrt[-fp16]"
        ),
    ] = None,
    model: ModelName = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first N images")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="share the images among N workers, a core each; default: with --address as many "
            "as there is work for, else 1",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="a running Ray cluster; default: this process, or one here")
    ] = None,
    as_json: Json = False,
) -> int:
    """Test containers on test images.

    Or, with --model, a network with weights files. Several files are tested at the same time, on
    the same images.

    Example: sigdca test runs/lenet-5-mnist/model.dca --data mnist --engine native
    """
    # Of each file: together they keep the workers busy.
    shares = None if workers is None else -(-workers // len(files))
    candidates = [_candidate(file, data, engine, model, limit, shares) for file in files]
    counts = _count([candidate.task for candidate in candidates], workers, address)
    told = [
        candidate.told(data, counted)
        for candidate, counted in zip(candidates, counts, strict=True)
    ]
    if len(files) == 1:
        _show_one(told[0], as_json)
    elif as_json:
        sized = zip(candidates, told, strict=True)
        print_json({"results": [one | candidate.size() for candidate, one in sized]})
    else:
        _show_all(candidates, told)
    return 0


@dataclass(frozen=True)
class _Candidate:
    """One of the files, opened."""

    file: str
    task: TestTask
    opened: Engine

    def told(self, data: str, counts: TestCounts) -> dict[str, Any]:
        """What its test gave."""
        from sigdca.engines.latency import measure_latency_us
        from sigdca.loop import evaluation_metrics

        metrics = evaluation_metrics(counts, self.task.engine)
        metrics["latency_us"] = measure_latency_us(self.opened, self.task.graph.input_shape)
        return {"file": self.file, "data": data} | metrics

    def size(self) -> dict[str, Any]:
        """Bytes of the file and of the dense weights; none for a file of weights."""
        if self.task.container is None:
            return {}
        info = inspect_container(self.task.container)
        return {
            "container_bytes": info.container_bytes,
            "dense_bytes": info.dense_bytes,
            "compression_ratio": info.compression_ratio,
        }


def _candidate(
    file: str,
    data: str,
    engine: str | None,
    model: str | None,
    limit: int | None,
    shares: int | None,
) -> _Candidate:
    from sigdca.data import check_split, find_source
    from sigdca.engines import container_engine, open_engine
    from sigdca.job import DataSource
    from sigdca.loop import TestTask

    check_split(find_source(data), "test")
    graph, tensors = open_weights(file, model, data)
    container = read_file(file) if model is None else None
    if engine is None:
        engine = "onnxruntime" if container is None else container_engine()
    opened = open_engine(engine, graph, tensors, threads=1, container=container)
    source = DataSource(source=data, limit=limit)
    return _Candidate(file, TestTask(graph, tensors, source, engine, shares, container), opened)


def _count(
    tasks: Sequence[TestTask], workers: int | None, address: str | None
) -> list[TestCounts]:
    """Tests in this process, or on a cluster."""
    if address is None and workers in (None, 1):
        from sigdca.loop import LocalExecutor

        return LocalExecutor().tests(tasks)
    from sigdca.distributed import connect

    # Ray tells what its nodes say on standard output, which is for results alone.
    with contextlib.redirect_stdout(sys.stderr), connect(address, workers or 1) as executor:
        return executor.tests(tasks)


def _show_one(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    results.print(
        f"error {told['error']:.2f} % ({told['num_samples'] - told['num_correct']} of "
        f"{told['num_samples']} images), {told['latency_us']:.0f} us an image at batch 1 "
        f"on this machine ({told['engine']})\nlogits sha256 {told['logits_sha256']}"
    )


def _show_all(candidates: Sequence[_Candidate], told: Sequence[dict[str, Any]]) -> None:
    table = Table("file", "error", "bytes", "ratio", "us an image")
    for candidate, one in zip(candidates, told, strict=True):
        size = candidate.size()
        table.add_row(
            candidate.file,
            f"{one['error']:.2f} %",
            f"{size['container_bytes']:,}" if size else "",
            f"{size['compression_ratio']:.1f}x" if size else "",
            f"{one['latency_us']:.0f}",
        )
    results.print(table)
    results.print(f"{told[0]['num_samples']:,} images each; times on this machine, at batch 1")
