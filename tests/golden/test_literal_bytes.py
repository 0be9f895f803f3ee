"""Two containers of version 1 written down by hand from SPEC.md, byte for byte."""

import numpy as np

from sigdca.codec import Graph, Op, decode_container, encode_container, inspect_container

GRAPH = Graph(
    (1, 1, 8),
    1 / 256,
    (Op("flatten", "", (0,)), Op("fc", "ip", (1,), {"out_features": 5, "bias": 0})),
)

GRAPH_SECTION = """
01 01 08                   1 channel, 1 x 8 pixels
00 00 00 00 00 00 70 3f    scale 1/256
02                         2 operators
08 00                      flatten, of the value just before
02 00                      fc, of the value just before
02 69 70                   "ip"
05 00                      5 outputs, no bias
"""

# 14 symbols in place of 40: fillers are 0, a weight at once 10, a weight after two zeros 11.
WITH_GAPS = (
    """
89 44 43 41 0d 0a 1a 0a    magic
01 00 04 00                version 1, 4 sections
5a 00 00 00 1b 00 00 00    90 bytes, a table of 27
00 15 08 4a 1a 10          graph, 21 bytes, CRC-32
02 00 08 68 c6 0e 26       codebook of tensor 0, 8 bytes
13 00 03 3e a6 d5 d2       indices, Huffman, 3 bytes
14 00 07 c8 41 94 db       gaps, Huffman, 7 bytes
b9 22 87 24                CRC-32 of all the above
"""
    + GRAPH_SECTION
    + """
00 00 00 3f 00 00 80 bf    0.5, -1
03                         3 weights
f0 20                      lengths 1111+0000 = 1, 0 = 1; codes 0 1 0; filled up with 0000
0e 02                      14 gap symbols of 2 bits
f1 e6 80 09 80             lengths 1111+0001 = 2, 1110 = none, 0 = 2, 110 = 1; 10 0x10 10 0 11
"""
)

AS_ENCODED = (
    """
89 44 43 41 0d 0a 1a 0a    magic
01 00 03 00                version 1, 3 sections
55 00 00 00 14 00 00 00    85 bytes, a table of 20
00 15 08 4a 1a 10          graph, 21 bytes, CRC-32
02 00 0c 6e df f9 38       codebook of tensor 0, 12 bytes
13 00 08 81 32 dc 8f       indices, Huffman, 8 bytes
89 3a 07 8c                CRC-32 of all the above
"""
    + GRAPH_SECTION
    + """
00 00 00 00                0
00 00 00 3f 00 00 80 bf    0.5, -1
28                         40 weights
f0 90 00 00 00 18 20       lengths 1111+0000 = 1, 10 = 2, 0 = 2; codes 10, 30 times 0, 11, ...
"""
)


def weights():
    matrix = np.zeros((5, 8), np.float32)
    matrix.flat[[0, 31, 37]] = 0.5, -1, 0.5
    return matrix


def binary(listing):
    return bytes.fromhex("".join(line[:27] for line in listing.splitlines()))


def test_reads_gaps_and_fillers():
    container = decode_container(binary(WITH_GAPS))
    assert container.graph == GRAPH
    assert container.metadata == {}
    assert container.tensors["ip.weight"].tobytes() == weights().tobytes()
    layer = inspect_container(binary(WITH_GAPS)).layers[0]
    assert (layer.num_nonzero, layer.num_centroids, layer.bits) == (3, 2, 1)


def test_reads_an_index_for_every_weight():
    container = decode_container(binary(AS_ENCODED))
    assert container.tensors["ip.weight"].tobytes() == weights().tobytes()


def test_writes_the_smaller_one():
    assert encode_container(GRAPH, {"ip.weight": weights()}) == binary(AS_ENCODED)
