"""NNCodec on weights of a grid: `nncodec_worker.py WEIGHTS.npz QP`, in its environment.

QP makes NNCodec's step the grid's, so that it codes without loss what sigdca codes without loss.
Prints one line of JSON: bytes, seconds to encode from float32, seconds to decode to float32; for
the whole call, as a user makes it, and for the entropy coder alone, DeepCABAC on whole numbers.
"""

from __future__ import annotations

import json
import sys
import time
from unittest.mock import MagicMock

import numpy as np

# NNCodec loads its data sets' packages, which no coding needs, and which may not fit this torch.
for package in ("torchvision", "torchvision.transforms", "torchvision.datasets", "cv2"):
    sys.modules[package] = MagicMock()
from nncodec.extensions import deepCABAC  # noqa: E402
from nncodec.nnc import compression  # noqa: E402

UNARY_LENGTH = 11  # NNCodec's default, cabac_unary_length_minus1 = 10
PROFILE = 1  # that of its second edition
OFF = (deepCABAC.HdspMode.AlwaysOff, np.zeros(2, np.int8))


def whole(weights, qp):
    """Bytes and seconds of compress and decompress."""
    start = time.perf_counter()
    stream = compression.compress(dict(weights), qp=qp, use_dq=False, return_bitstream=True)
    middle = time.perf_counter()
    found = compression.decompress(stream)
    end = time.perf_counter()
    for name, values in weights.items():
        if not np.array_equal(found[name], values):
            raise SystemExit(f"nncodec: {name} is not what was encoded")
    return len(stream), middle - start, end - middle


def coder(weights, step):
    """Bytes and seconds of the extension, from and to whole numbers."""
    levels = [
        np.rint(values.reshape(len(values), -1) / step).astype(np.int32)
        for values in weights.values()
    ]
    start = time.perf_counter()
    streams = []
    for matrix in levels:
        encoder = deepCABAC.Encoder()
        encoder.initCtxModels(UNARY_LENGTH, 1)
        encoder.encodeLayer(
            matrix, 0, 0, PROFILE, 0, 0, np.zeros(len(matrix), np.int32), *OFF, 0, 0
        )
        streams.append(encoder.finish().tobytes())
    middle = time.perf_counter()
    for matrix, stream in zip(levels, streams, strict=True):
        decoder = deepCABAC.Decoder()
        decoder.setStream(bytearray(stream))
        decoder.initCtxModels(UNARY_LENGTH)
        found = np.zeros(matrix.shape, np.int32)
        decoder.decodeLayer(found, 0, 0, PROFILE, 0, *OFF, 0, 0)
        if not np.array_equal(found, matrix):
            raise SystemExit("nncodec: levels are not what was encoded")
    end = time.perf_counter()
    return sum(map(len, streams)), middle - start, end - middle


def main() -> None:
    """Codes what the file holds and prints the figures."""
    qp = int(sys.argv[2])
    with np.load(sys.argv[1]) as file:
        weights = {name: file[name] for name in file.files}
    names = ("bytes", "encode_s", "decode_s")
    whole({"warm.weight": np.eye(256, dtype=np.float32)}, qp)
    figures = dict(zip(names, whole(weights, qp), strict=True))
    figures["coder"] = dict(zip(names, coder(weights, 2.0 ** (qp / 4)), strict=True))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
