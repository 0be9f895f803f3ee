"""The verbs on files: `encode`, `decode`, `inspect`, `export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sigdca.cli.output import errors, print_json, results
from sigdca.codec import Container, decode_container, encode_container, inspect_container
from sigdca.errors import FormatError, JobError
from sigdca.storage import write_file

if TYPE_CHECKING:
    import numpy as np

    from sigdca.codec import Graph

WEIGHTS_SUFFIXES = (".safetensors", ".caffemodel", ".net")

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Weights = Annotated[
    str, typer.Argument(metavar="FILE", help="a .dca, or with --model a weights file")
]
ModelName = Annotated[
    str | None,
    typer.Option(help="the network that a .safetensors, .caffemodel or .net file belongs to"),
]
Data = Annotated[
    str, typer.Option(help="a data source, or the address of a data set: shapes and images")
]
Output = Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="file to write")]


class DenseFormat(str, Enum):
    """What `decode` writes."""

    npz = "npz"
    safetensors = "safetensors"
    onnx = "onnx"


class ExportFormat(str, Enum):
    """What `export` writes."""

    onnx = "onnx"
    openvino = "openvino"


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(encode)
    app.command()(decode)
    app.command()(inspect)
    app.command()(export)


def encode(
    file: Annotated[str, typer.Argument(metavar="FILE", help=".safetensors, .caffemodel or .net")],
    model: Annotated[str, typer.Option(help="the network that the weights belong to")],
    output: Output,
    data: Data = "mnist",
    coder: Annotated[
        str, typer.Option(help="huffman, rans (fast) or arithmetic (small)")
    ] = "huffman",
    as_json: Json = False,
) -> int:
    """Pack weights into a container.

    Losslessly: zeros and shared values are found and coded.

    Example: sigdca encode lenet-5.safetensors --model lenet-5 -o lenet-5.dca
    """
    from sigdca.data import find_source

    graph, tensors = open_weights(file, model, data)
    metadata = {"model": model, "data": find_source(data).name}
    content = encode_container(graph, tensors, coder=coder, metadata=metadata)
    write_file(output, content)
    return _describe(content, output, as_json)


def decode(
    file: Weights,
    output: Output,
    to: Annotated[DenseFormat, typer.Option(help="the dense format to write")],
    model: ModelName = None,
    data: Data = "mnist",
) -> int:
    """Unpack a container into dense weights.

    Or, with --model, a weights file.

    Example: sigdca decode model.dca --to safetensors -o model.safetensors
    """
    graph, tensors = open_weights(file, model, data)
    if to is DenseFormat.onnx:
        return _write_onnx(graph, tensors, output)
    write_file(output, _dense_bytes(tensors, to))
    errors.print(f"wrote {output}")
    return 0


def inspect(
    file: Weights,
    model: ModelName = None,
    data: Data = "mnist",
    as_json: Json = False,
) -> int:
    """Show what is in a container.

    Or, with --model, in a weights file: how sparse it is, and how many values it shares.

    Example: sigdca inspect model.dca --json
    """
    if model is None:
        _refuse_weights(file)
        return _describe(read_file(file), file, as_json)
    graph, tensors = open_weights(file, model, data)
    return _describe_weights(graph, tensors, file, as_json)


def export(
    file: Weights,
    output: Output,
    to: Annotated[ExportFormat, typer.Option(help="the format to write")] = ExportFormat.onnx,
    model: ModelName = None,
    data: Data = "mnist",
    int8: Annotated[
        bool, typer.Option(help="of openvino: int8, on training images of --data")
    ] = False,
    overflow_fix: Annotated[
        bool, typer.Option(help="of --int8: right also on processors without VNNI")
    ] = True,
) -> int:
    """Export a container to another format.

    Or, with --model, a network with a weights file. The export is checked against our own result.
    For openvino, OUT.xml and OUT.bin are written.

    Example: sigdca export model.dca --to openvino --int8 --data mnist -o model.xml
    """
    if to is ExportFormat.onnx and int8:
        raise JobError("export: --int8 is of --to openvino")
    graph, tensors = open_weights(file, model, data)
    if to is ExportFormat.openvino:
        from sigdca.cli.exporting import write_openvino

        return write_openvino(graph, tensors, output, data if int8 else None, overflow_fix)
    return _write_onnx(graph, tensors, output)


def read_file(path: str) -> bytes:
    """The bytes of a file.

    Raises:
        JobError: it is not there, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from error


def open_container(path: str) -> Container:
    """Reads and decodes a container.

    Raises:
        JobError: it is not there, or cannot be read.
        FormatError: it is damaged; the message begins with the path.
    """
    content = read_file(path)
    try:
        return decode_container(content)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def open_weights(file: str, model: str | None, data: str) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph and weights of a container, or of a network with a weights file.

    Raises:
        JobError: the file is not there, or needs `model`; model or data are unknown.
        FormatError: it is damaged, or of another network.
    """
    if model is None:
        _refuse_weights(file)
        container = open_container(file)
        return container.graph, container.tensors
    from sigdca.data import find_source
    from sigdca.loop.network import build_for, state_of, weights_of
    from sigdca.models import load_weights, trace

    source = find_source(data)
    network = build_for(model, data)
    load_weights(network, file)
    graph = trace(network, source.input_shape, source.input_scale)
    return graph, weights_of(graph, state_of(network))


def _refuse_weights(file: str) -> None:
    if Path(file).suffix.lower() in WEIGHTS_SUFFIXES:
        raise JobError(f"{file}: not a .dca; name its network with --model")


def _describe_weights(
    graph: Graph, tensors: Mapping[str, np.ndarray], name: str, as_json: bool
) -> int:
    """What a weights file holds, layer by layer."""
    layers: list[dict[str, Any]] = []
    for op in graph.ops:
        if not op.name:
            continue
        weights = tensors[f"{op.name}.weight"]
        used = weights[weights != 0]
        layers.append(
            {
                "name": op.name,
                "kind": op.kind,
                "shape": list(weights.shape),
                "num_weights": weights.size,
                "num_nonzero": used.size,
                "sparsity": 1 - used.size / weights.size,
                "num_values": len(set(used.tolist())),
            }
        )
    dense = 4 * sum(layer["num_weights"] for layer in layers)
    if as_json:
        print_json({"file": name, "weights_bytes": dense, "layers": layers})
        return 0
    table = Table("layer", "kind", "weights", "sparsity", "values")
    for layer in layers:
        table.add_row(
            layer["name"],
            layer["kind"],
            f"{layer['num_weights']:,}",
            f"{layer['sparsity']:.4f}",
            f"{layer['num_values']:,}",
        )
    results.print(table)
    results.print(f"{name}: {dense:,} bytes of weights as float32, biases left out")
    return 0


def _describe(content: bytes, name: str, as_json: bool) -> int:
    try:
        info = inspect_container(content)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    if as_json:
        layers = [asdict(layer) for layer in info.layers]
        print_json(
            {
                "file": name,
                "version": info.version,
                "container_bytes": info.container_bytes,
                "dense_bytes": info.dense_bytes,
                "compression_ratio": info.compression_ratio,
                "metadata": dict(info.metadata),
                "layers": layers,
            }
        )
        return 0
    table = Table("layer", "kind", "weights", "sparsity", "centroids", "bytes", "ratio")
    for layer in info.layers:
        table.add_row(
            layer.name,
            layer.kind,
            f"{layer.num_weights:,}",
            f"{layer.sparsity:.4f}",
            str(layer.num_centroids),
            f"{layer.bytes:,}",
            f"{layer.dense_bytes / layer.bytes:.1f}x",
        )
    results.print(table)
    results.print(
        f"{name}: {info.container_bytes:,} bytes, {info.compression_ratio:.1f}x smaller than "
        f"{info.dense_bytes:,} bytes of float32"
    )
    return 0


def _dense_bytes(tensors: Mapping[str, np.ndarray], to: DenseFormat) -> bytes:
    if to is DenseFormat.safetensors:
        from sigdca.loop.network import pack

        return pack(tensors)
    import io

    import numpy as np

    buffer = io.BytesIO()
    arrays: dict[str, Any] = dict(tensors)
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _write_onnx(graph: Graph, tensors: dict[str, np.ndarray], output: str) -> int:
    from sigdca.engines import to_onnx
    from sigdca.engines.export_check import check_export

    content = to_onnx(graph, tensors)
    difference = check_export(content, graph, tensors)
    write_file(output, content)
    errors.print(
        f"wrote {output}; onnxruntime agrees with our own result within {difference:.1e} "
        "of the largest logit"
    )
    return 0
