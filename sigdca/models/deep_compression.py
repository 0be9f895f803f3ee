"""Reads the weights in a `.net`, the file in which Deep Compression's networks were published.

The layout is that of the AlexNet and the SqueezeNet of Han, Mao, Dally, "Deep Compression" (arXiv
1510.00149), before Huffman coding. All is little-endian. Nothing in the file says which network it
is of, or where a layer begins: the network's own layers say it.

    for each layer:  uint32 number of entries
    for each layer:  float32 codebook[2 ** bits]; bits = 8 for conv, 4 for fc
                     float32 bias[outputs]
                     codes, one per entry: bytes, or with 4 bits two in a byte, the low half first
                     gaps, one per entry: 4 bits each, two in a byte, the low half first

An entry's gap is the number of weights between it and the entry before it (or the layer's first
weight), its code is the index of its value in the codebook. A weight without an entry has index 0.
So a filler, which bridges more than 15 weights by a gap of 15 and code 0, is an entry like others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sigdca.errors import FormatError

CONV_BITS, FC_BITS = 8, 4

_GAP_BITS = 4
_CHUNK = 1 << 20  # entries decoded at once, so that little memory is needed beside the weights'


@dataclass(frozen=True)
class NetLayer:
    """A layer of the network whose weights the file should have.

    Attributes:
        name: for errors; the file has none.
        bits: of a code, `CONV_BITS` or `FC_BITS`.
        shape: of the weight, outputs first.
    """

    name: str
    bits: int
    shape: tuple[int, ...]

    @property
    def num_weights(self) -> int:
        """Without the biases."""
        return math.prod(self.shape)

    def num_bytes(self, num_entries: int) -> int:
        """What the file has for the layer beside its number of entries."""
        values = 4 * ((1 << self.bits) + self.shape[0])
        return values + _packed(num_entries, self.bits) + _packed(num_entries, _GAP_BITS)


@dataclass(frozen=True, eq=False)
class NetWeights:
    """What the file has for one layer, float32.

    Attributes:
        weight: of the layer's shape.
        bias: [outputs].
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def max_net_bytes(layers: Sequence[NetLayer]) -> int:
    """The length of the file of these layers in which every weight has an entry."""
    return sum(4 + layer.num_bytes(layer.num_weights) for layer in layers)


def parse_net(content: bytes, layers: Sequence[NetLayer], where: str) -> list[NetWeights]:
    """The weights of all layers.

    Args:
        content: the whole file.
        layers: all of the network's, in its order.
        where: names the file in errors.

    Raises:
        FormatError: it is damaged, or another network's; one line that says where.
    """
    counts = _entry_counts(content, layers, where)
    found = []
    at = 4 * len(layers)
    for layer, num_entries in zip(layers, counts, strict=True):
        end = at + layer.num_bytes(num_entries)
        found.append(_parse_layer(content[at:end], layer, num_entries, where))
        at = end
    return found


def _entry_counts(content: bytes, layers: Sequence[NetLayer], where: str) -> list[int]:
    """The numbers of entries, which are checked: the file is exactly as long as they make it."""
    header_bytes = 4 * len(layers)
    if len(content) < header_bytes:
        raise FormatError(
            f"{where}: {len(content)} bytes; the numbers of entries of {len(layers)} layers alone "
            f"are {header_bytes}"
        )
    counts = [int(count) for count in np.frombuffer(content, "<u4", len(layers))]
    for layer, count in zip(layers, counts, strict=True):
        if count > layer.num_weights:
            raise FormatError(
                f"{where}: damaged, or another network's: layer '{layer.name}' has {count} "
                f"entries for the model's {layer.num_weights} weights"
            )
    expected = header_bytes + sum(map(NetLayer.num_bytes, layers, counts))
    if len(content) != expected:
        raise FormatError(
            f"{where}: damaged, or another network's: {len(content)} bytes, must be {expected} by "
            "its numbers of entries and the model's layers"
        )
    return counts


def _parse_layer(content: bytes, layer: NetLayer, num_entries: int, where: str) -> NetWeights:
    """Reads the layer's own bytes, which are as many as they must be."""
    num_centroids = 1 << layer.bits
    codebook, bias = np.split(
        np.frombuffer(content, "<f4", num_centroids + layer.shape[0]), [num_centroids]
    )
    for values, what in ((codebook, "codebook"), (bias, "bias")):
        if not np.isfinite(values).all():
            raise FormatError(
                f"{where}: layer '{layer.name}': its {what} has values that are not finite"
            )
    packed = np.frombuffer(content, np.uint8, offset=codebook.nbytes + bias.nbytes)
    codes, gaps = np.split(packed, [_packed(num_entries, layer.bits)])
    weight = np.full(layer.num_weights, codebook[0], np.float32)
    last = -1
    for start in range(0, num_entries, _CHUNK):
        stop = min(start + _CHUNK, num_entries)
        steps = _unpack(gaps, _GAP_BITS, start, stop).astype(np.int64) + 1
        positions = last + np.cumsum(steps)
        last = int(positions[-1])
        if last >= layer.num_weights:
            beyond = start + int(np.searchsorted(positions, layer.num_weights))
            raise FormatError(
                f"{where}: layer '{layer.name}': entry {beyond} is of weight "
                f"{positions[beyond - start]}, the model has {layer.num_weights}"
            )
        weight[positions] = codebook[_unpack(codes, layer.bits, start, stop)]
    return NetWeights(weight.reshape(layer.shape), bias.astype(np.float32))


def _packed(count: int, bits: int) -> int:
    """The bytes of `count` numbers; the last byte may be filled in half."""
    return (count * bits + 7) // 8


def _unpack(
    packed: npt.NDArray[np.uint8], bits: int, start: int, stop: int
) -> npt.NDArray[np.uint8]:
    """Numbers `start` to `stop`; `start` is even."""
    if bits == 8:
        return packed[start:stop]
    pairs = packed[start // 2 : (stop + 1) // 2]
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[: stop - start]
