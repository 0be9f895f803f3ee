"""Both readers of containers: the native one under sanitizers, and Python's."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigdca.codec import decode_container
from sigdca.errors import FormatError

HERE = Path(__file__).parent
NATIVE = Path(__file__).resolve().parents[3] / "sigdca/native"
MAX_WEIGHTS = 1 << 20  # what a forged graph may make Python allocate here
MESSAGE_BYTES = 255

# What a container leads to: the status, and all weights or a message.
Read = Callable[[bytes], "tuple[int, bytes]"]
Build = Callable[..., None]


# Where the words may differ, never the error:
# - the place of half a character in metadata: Python counts after it has sorted the keys;
# - a key that is there twice, once with a string: to Python, the last of them counts;
# - lists in lists, and numbers of thousands of digits: what Python takes differs between Pythons;
# - in a name or key with something to escape, characters beyond U+00FF that cannot be printed.
EXEMPT = re.compile(r"not Unicode text at character|text to text, got str")


def class_name(status_name: str) -> str:
    """The class in sigdca.codec.errors of `gap-overrun` or GAP_OVERRUN."""
    return status_name.replace("-", "_").title().replace("_", "") + "Error"


# Statuses of containers by number, as the class of the same name.
STATUSES = {
    int(number): class_name(name)
    for name, number in re.findall(
        r"SIGDCA_(\w+) = (\d+)", (NATIVE / "include/sigdca.h").read_text()
    )
    if int(number) >= 16
}


@pytest.fixture(scope="session")
def statuses() -> dict[int, str]:
    return STATUSES


@pytest.fixture(scope="session")
def read(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """The native reader, under ASan and UBSan: any number of containers."""
    program = tmp_path_factory.mktemp("dump") / "dump"
    build("c++", "address,undefined", [HERE / "container_dump.cc"], program)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        into, out = process.stdin, process.stdout

        def answer(data: bytes) -> tuple[int, bytes]:
            into.write(struct.pack("<I", len(data)) + data)
            into.flush()
            head = out.read(8)
            assert len(head) == 8, "the reader has crashed"
            status, length = struct.unpack("<II", head)
            return status, out.read(length)

        yield answer
        into.close()
        assert process.wait() == 0


@pytest.fixture(scope="session")
def assert_same(read: Read) -> Callable[[bytes], None]:
    """That both readers make the same of a container."""

    def check(data: bytes) -> None:
        verdict, result = python_verdict(data)
        if verdict == "":
            return
        status, got = read(data)
        assert STATUSES.get(status) == verdict, (result, got)
        if verdict is None or not EXEMPT.search(result.decode()):
            assert got == result

    return check


def python_verdict(data: bytes) -> tuple[str | None, bytes]:
    """The error's class and message; or None and all weights; or "" for too many weights here."""
    try:
        container = decode_container(data, max_weights=MAX_WEIGHTS)
    except FormatError as error:
        line = str(error)
        if re.fullmatch(r"graph: declares \d+ weights, limit \d+", line):
            return "", b""
        cut = line.encode()[:MESSAGE_BYTES].decode(errors="ignore")
        return type(error).__name__, cut.encode()
    return None, b"".join(tensor.tobytes() for tensor in container.tensors.values())
