"""What a container is coded as makes no difference to what the network computes."""

from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import Graph, Op, decode_container, encode_container
from sigdca.codec.coders import open_coder
from sigdca.codec.graph_bytes import put_graph
from sigdca.codec.layout import Coder, Kind, Part
from sigdca.codec.layout_v2 import put_file
from sigdca.codec.levels import Limits
from sigdca.codec.text_model import put_bytes
from sigdca.codec.varint import put_varint
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


@pytest.mark.parametrize("profile", ["exact", "fast", "int8"])
def test_values_that_no_weight_takes(profile):
    """An encoder would say that all is zero; a grid without weights is allowed as well."""
    fc = Op("fc", "f", (1,), {"out_features": 40, "bias": 0})
    graph = put_graph(Graph((1, 1, 300), 1.0, (Op("flatten", "", (0,)), fc)))
    coder = open_coder(None, "")
    for value, num_bits in ((2, 2), (0x3F80, 16), (2, 5), (2, 2), (2, 5), (2, 2)):
        coder.plain(value, num_bits)  # a grid of steps of 1, two values on each side
    coder.levels(np.zeros((40, 300), np.int32), 300, Limits(2, 2), "")
    coded = put_varint(len(graph)) + put_bytes(graph)
    data = put_file(
        [
            Part(Kind.GRAPH, None, coded, Coder.ARITHMETIC),
            Part(Kind.LAYER, 0, coder.finish(), Coder.ARITHMETIC),
        ]
    )
    images = np.full((70, 1, 1, 300), 200, np.uint8)
    assert not decode_container(data).tensors["f.weight"].any()
    for batch in (1, 70):
        logits = Session(Model(data), profile=profile, max_batch=batch).run(images)
        assert not logits.any()


def test_the_operators_sizes_add_up():
    data = (GOLDEN / "v2/grid-images.dca").read_bytes()
    sizes = [operator.bytes for operator in Model(data).operators()]
    assert sum(sizes) < len(data)
    assert sum(size > 0 for size in sizes) == 2
