"""What a container is coded as makes no difference to what the network computes."""

from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import decode_container, encode_container
from sigdca.native import Model, Session

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
INFINITE = {"extreme-values", "raw-all-operators"}  # their logits are not finite
FILES = [path for path in sorted(GOLDEN.glob("v2/*.dca")) if path.stem not in INFINITE]


@pytest.mark.parametrize("profile", ["exact", "fast", "int8"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_logits_from_both_versions(path, profile):
    container = decode_container(path.read_bytes())
    first = encode_container(container.graph, container.tensors, metadata=container.metadata)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (3, *container.graph.input_shape), dtype=np.uint8)
    logits = [
        Session(Model(data), profile=profile, max_batch=3).run(images)
        for data in (first, path.read_bytes())
    ]
    assert logits[0].tobytes() == logits[1].tobytes()


def test_the_operators_sizes_add_up():
    data = (GOLDEN / "v2/grid-images.dca").read_bytes()
    sizes = [operator.bytes for operator in Model(data).operators()]
    assert sum(sizes) < len(data)
    assert sum(size > 0 for size in sizes) == 2
