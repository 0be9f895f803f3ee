"""Graphs."""

import struct

from parts import FLATTEN, GRAPH, NET, RAW, container, conv, fc, raw_net, varint

# name, the error it must give, what it is, the file
CASES = [
    (
        "graph-cut",
        "GraphBytesError",
        "a graph that ends within an operator",
        container((GRAPH, None, NET[:-4]), RAW),
    ),
    ("graph-empty", "VarintError", "a graph of no bytes", container((GRAPH, None, b""), RAW)),
    (
        "graph-behind",
        "GraphBytesError",
        "a byte behind the last operator",
        container((GRAPH, None, NET + b"\0"), RAW),
    ),
    ("graph-code-99", "GraphBytesError", "an unknown operator", raw_net(b"\x63\0")),
    ("graph-ops-bomb", "GraphBytesError", "4 billion operators", raw_net(num_ops=2**32 - 1)),
    (
        "graph-inputs-bomb",
        "GraphBytesError",
        "concat of 4 billion values",
        raw_net(b"\x0d" + varint(2**32 - 1)),
    ),
    (
        "graph-name-bomb",
        "GraphBytesError",
        "a name of 4 GiB",
        raw_net(b"\2\0" + varint(2**32 - 1)),
    ),
    (
        "graph-name-latin1",
        "GraphBytesError",
        "a name that is not UTF-8",
        raw_net(FLATTEN, fc(name=b"\xfc")),
    ),
    ("graph-name-none", "OperatorError", "a layer without a name", raw_net(FLATTEN, fc(name=b""))),
    (
        "graph-name-long",
        "OperatorError",
        "a name of 256 bytes",
        raw_net(FLATTEN, fc(name=b"a" * 256)),
    ),
    (
        "graph-name-escape",
        "OperatorError",
        "a name that clears the terminal",
        raw_net(FLATTEN, fc(name=b"\x1b[2J")),
    ),
    ("graph-name-twice", "OperatorError", "two layers of one name", raw_net(FLATTEN, fc(), fc())),
    ("graph-no-ops", "LimitError", "no operator", raw_net()),
    (
        "graph-input-behind",
        "OperatorError",
        "a value before the network's input",
        raw_net(b"\6\1"),
    ),
    ("graph-concat-0", "OperatorError", "concat of nothing", raw_net(b"\x0d\0")),
    (
        "graph-scale-nan",
        "OperatorError",
        "an input scale of NaN",
        raw_net(FLATTEN, scale=struct.pack("<d", float("nan"))),
    ),
    ("graph-scale-0", "OperatorError", "an input scale of 0", raw_net(FLATTEN, scale=bytes(8))),
    (
        "graph-eps-inf",
        "OperatorError",
        "a batch norm with an infinite eps",
        raw_net(b"\x0b\0\1b" + struct.pack("<d", float("inf"))),
    ),
    (
        "graph-flag-2",
        "OperatorError",
        "a bias that is neither there nor not",
        raw_net(FLATTEN, fc(bias=2)),
    ),
    ("graph-stride-0", "OperatorError", "a stride of 0", raw_net(conv(stride=0))),
    ("graph-groups-0", "OperatorError", "0 groups", raw_net(conv(groups=0))),
    ("graph-shape-0", "ShapeError", "images without rows", raw_net(FLATTEN, shape=(1, 0, 8))),
    (
        "graph-kernel",
        "ShapeError",
        "a kernel larger than its input",
        raw_net(conv(kernel=5, padding=0)),
    ),
    (
        "graph-groups",
        "ShapeError",
        "groups that do not divide the channels",
        raw_net(conv(groups=3)),
    ),
    ("graph-fc-image", "ShapeError", "fc of an image", raw_net(fc())),
    (
        "graph-pool-pad",
        "ShapeError",
        "a pool that sees padding alone",
        raw_net(b"\3\0\2\2\1\1\2\2\0"),
    ),
    ("graph-add", "ShapeError", "the sum of two shapes", raw_net(FLATTEN, b"\x0c\0\1")),
    (
        "graph-concat",
        "ShapeError",
        "an image and a vector joined",
        raw_net(FLATTEN, b"\x0d\2\0\1"),
    ),
    (
        "graph-input-bomb",
        "LimitError",
        "an input of 2^96 values",
        raw_net(FLATTEN, shape=(2**32 - 1,) * 3),
    ),
    (
        "graph-padding-bomb",
        "LimitError",
        "an input of 1 x 1, padded to 2^28 values and more",
        raw_net(conv(stride=4096, padding=4096), shape=(5, 1, 1)),
    ),
    (
        "graph-output-bomb",
        "LimitError",
        "2^24 channels of 10 x 10",
        raw_net(conv(out=2**24), shape=(1, 10, 10)),
    ),
    (
        "graph-weights-bomb",
        "LimitError",
        "2^31 weights and more, of one layer",
        raw_net(FLATTEN, fc(2**24), shape=(1, 1, 129)),
    ),
    (
        "graph-weights-sum",
        "LimitError",
        "2^31 weights and more, of three layers",
        raw_net(
            FLATTEN,
            *(fc(2**20, name, back) for name, back in ((b"a", 0), (b"b", 1), (b"c", 2))),
            shape=(1, 1, 1000),
        ),
    ),
]
