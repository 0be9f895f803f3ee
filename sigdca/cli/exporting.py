"""What `export --to openvino` writes, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sigdca.cli.output import errors
from sigdca.errors import EngineError, JobError
from sigdca.storage import write_file

if TYPE_CHECKING:
    import numpy as np

    from sigdca.codec import Graph

NUM_IMAGES = 300


def write_openvino(
    graph: Graph,
    tensors: Mapping[str, np.ndarray],
    output: str,
    data: str | None,
    overflow_fix: bool,
) -> int:
    """Writes OUT.xml and OUT.bin.

    Args:
        graph: the network.
        tensors: its weights.
        output: ends with `.xml`.
        data: whose training images say how large activations are, for int8; None: float32.
        overflow_fix: see `sigdca.engines.openvino_int8.quantized`.

    Raises:
        JobError: `output` ends otherwise, or there is no such data.
        EngineError: OpenVINO or NNCF is missing, or what was written computes something else.
    """
    if Path(output).suffix != ".xml":
        raise JobError(f"{output}: must end with .xml; its weights go beside it, to .bin")
    from sigdca.engines import compare, open_engine, to_int8, to_onnx, to_openvino
    from sigdca.engines.export_check import TOLERANCE

    onnx_model = to_onnx(graph, tensors)
    images = _training_images(data, graph.input_shape)
    if data is None:
        packed = to_openvino(onnx_model)
    else:
        packed = to_int8(onnx_model, images, overflow_fix=overflow_fix)
    from sigdca.engines.openvino import OpenVinoEngine, unpack  # is there: it has just packed

    ours = open_engine("torch", graph, tensors).logits(images)
    found = compare(OpenVinoEngine(packed).logits(images), ours)
    difference = found.max_abs_difference / (found.scale or 1.0)
    if data is None and difference > TOLERANCE:
        raise EngineError(
            f"export: OpenVINO's logits differ from ours by {difference:.1e} of the largest "
            f"logit; at most {TOLERANCE:.0e} is rounding"
        )
    xml, weights = unpack(packed)
    write_file(str(Path(output).with_suffix(".bin")), weights)
    write_file(output, xml)
    what = "float32" if data is None else f"int8 by {len(images)} training images of {data}"
    errors.print(
        f"wrote {output} and its .bin ({what}): logits within {difference:.1e} of the largest of "
        f"our own float32, {found.argmax_flips} of {len(images)} images change class",
        soft_wrap=True,
    )
    return 0


def _training_images(data: str | None, shape: tuple[int, ...]) -> np.ndarray:
    """Images to quantise with; noise where nothing is quantised."""
    import numpy as np

    if data is None:
        return np.random.default_rng(0).integers(0, 256, (8, *shape), dtype=np.uint8)
    from sigdca.job import DataSource
    from sigdca.loop.dataset import dataset_of

    images = dataset_of(DataSource(source=data), "train", NUM_IMAGES).images
    if images.shape[1:] != shape:
        raise JobError(
            f"export: --data {data}: its images are {list(images.shape[1:])}, the network takes "
            f"{list(shape)}"
        )
    return images
