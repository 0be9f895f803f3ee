"""Containers put together by hand, so that they can be wrong in one place and right elsewhere."""

import struct
import zlib

MAGIC = bytes.fromhex("894443410d0a1a0a")
SCALE = struct.pack("<d", 1 / 256)
GRAPH, METADATA, CODEBOOK, INDICES, GAPS, DENSE = 0, 1, 2, 0x13, 0x14, 5


def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def bits(text):
    text = text.replace(" ", "")
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def entry(tag, tensor, payload, length=None):
    number = b"" if tensor is None else varint(tensor)
    size = len(payload) if length is None else length
    return bytes([tag]) + number + varint(size) + struct.pack("<I", zlib.crc32(payload))


def assemble(table, body, num_sections, version=1, total=None, table_bytes=None):
    size = len(MAGIC) + 12 + len(table) + 4 + len(body)
    table_size = len(table) if table_bytes is None else table_bytes
    header = struct.pack("<HHII", version, num_sections, total or size, table_size)
    head = MAGIC + header + table
    return head + struct.pack("<I", zlib.crc32(head)) + body


def container(*sections, **changes):
    """Sections (tag, tensor number, payload) as a file with right checksums."""
    table = b"".join(entry(*section) for section in sections)
    body = b"".join(payload for _, _, payload in sections)
    return assemble(table, body, **({"num_sections": len(sections)} | changes))


def graph(*ops, shape=(1, 1, 8), scale=SCALE, num_ops=None):
    count = len(ops) if num_ops is None else num_ops
    return b"".join(map(varint, shape)) + scale + varint(count) + b"".join(ops)


def fc(outputs=5, name=b"ip", back=0, bias=0):
    return b"\2" + varint(back) + varint(len(name)) + name + varint(outputs) + varint(bias)


def conv(out=4, kernel=3, stride=1, padding=1, groups=1):
    pair = (kernel, kernel, stride, stride, padding, padding, 1, 1)
    return b"\1\0\2c1" + varint(out) + b"".join(map(varint, pair)) + varint(groups) + b"\0"


FLATTEN = b"\10\0"
NET = graph(FLATTEN, fc())  # one tensor, of 40 weights
BOOK = struct.pack("<2f", 0.5, -1)
INDEX = b"\3" + bits("1111 0000 0  010")
GAP = b"\16\2" + bits("1111 0001 1110 0 110  10 0000000000 10 0 11")
RAW = (DENSE, 0, bytes(160))
META = b'{"name":"a"}'


def net(*sections, **changes):
    return container((GRAPH, None, NET), *sections, **changes)


def raw_net(*ops, **changes):
    return container((GRAPH, None, graph(*ops, **changes)))


def shared(book=BOOK, index=INDEX, gap=GAP):
    return net(
        (CODEBOOK, 0, book), (INDICES, 0, index), *([] if gap is None else [(GAPS, 0, gap)])
    )


def described(metadata):
    return container((GRAPH, None, NET), (METADATA, None, metadata), RAW)


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


GOOD = net(RAW)
