"""int8 for OpenVINO, by NNCF's quantisation after training, on images of the job's own data."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from sigdca.engines.openvino import GRAPH, WEIGHTS, openvino_model, pack
from sigdca.errors import EngineError

NUM_IMAGES = 300  # NNCF's own number


def to_openvino(onnx_model: bytes) -> bytes:
    """A float32 ONNX file as OpenVINO's two files, packed as `sigdca.engines.openvino.pack` does.

    Raises:
        EngineError: OpenVINO cannot read it.
    """
    try:
        return _saved(openvino_model(onnx_model))
    except RuntimeError as error:
        raise EngineError(f"openvino: {str(error).strip().splitlines()[-1][:300]}") from error


def quantized(onnx_model: bytes, images: NDArray[np.uint8], *, overflow_fix: bool = True) -> bytes:
    """Makes a model int8.

    Args:
        onnx_model: as `sigdca.engines.to_onnx` writes it.
        images: uint8 [n, C, H, W], of the training split: the ranges of activations are theirs.
        overflow_fix: keep weights within 7 bits. Processors without VNNI (an Atom, a Haswell) add
            two products of 8 bits in 16, which saturate: without this a server with VNNI shows
            another, better result than the device gives. It costs a little of the precision.

    Returns:
        A model for `OpenVinoEngine`.

    Raises:
        EngineError: there are no images, or NNCF cannot quantise it.
        ModuleNotFoundError: NNCF is not installed.
    """
    if len(images) == 0:
        raise EngineError("openvino: no images to quantise with")
    os.environ.setdefault("NNCF_CI", "1")  # or it would report its use to its makers
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    logging.getLogger("nncf").setLevel(logging.ERROR)
    fix = OverflowFix.ENABLE if overflow_fix else OverflowFix.DISABLE
    dataset = nncf.Dataset(list(images), lambda image: image[np.newaxis].astype(np.float32))
    try:
        model = openvino_model(onnx_model)
        with contextlib.redirect_stdout(io.StringIO()):  # bars; a verb's output is its result
            result = nncf.quantize(
                model,
                dataset,
                subset_size=len(images),
                advanced_parameters=AdvancedQuantizationParameters(overflow_fix=fix),
            )
        return _saved(result)
    except Exception as error:  # NNCF's exceptions have no base class of their own
        raise EngineError(f"openvino: not quantised: {str(error).strip()[:300]}") from error


def _saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="sigdca-openvino-") as name:
        openvino.save_model(model, str(Path(name, GRAPH)), compress_to_fp16=False)
        return pack(Path(name, GRAPH).read_bytes(), Path(name, WEIGHTS).read_bytes())
