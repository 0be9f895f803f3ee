"""Programs of C++ over the library's sources, built with a compiler's sanitizers."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigdca.codec import decode_container
from sigdca.errors import FormatError

HERE = Path(__file__).parent
NATIVE = Path(__file__).resolve().parents[3] / "sigdca/native"
SANITIZERS = "address,undefined"
FLAGS = ("-O1", "-g", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror")
MAX_WEIGHTS = 1 << 20  # what a forged graph may make Python allocate here
MESSAGE_BYTES = 255
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # cmake may lie beside Python

# What a container leads to: the status, and all weights or a message.
Read = Callable[[bytes], "tuple[int, bytes]"]
# Compiler, sanitizers, sources, and the program to make of them with the library.
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


def run(*command: object) -> None:
    found = shutil.which(str(command[0]), path=PATH)
    assert found is not None, f"{command[0]} is not installed: make compilers"
    done = subprocess.run([found, *map(str, command[1:])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.fixture(scope="session")
def statuses() -> dict[int, str]:
    return STATUSES


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """The native reader, under ASan and UBSan: any number of containers."""
    program = tmp_path_factory.mktemp("dump") / "dump"
    sources = [HERE / "container_dump.cc", *(NATIVE / "src/container").glob("*.cc")]
    sources += [NATIVE / "src/core" / name for name in ("context.cc", "crc32.cc")]
    folders = (f"-I{NATIVE / 'src'}", f"-I{NATIVE / 'include'}")
    language = ("-std=c++17", "-fno-exceptions", "-fno-rtti")
    run("c++", *language, f"-fsanitize={SANITIZERS}", *FLAGS, *folders, *sources, "-o", program)
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


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds programs with both libraries, and every instruction set of this machine."""

    @functools.cache
    def libraries(compiler: str, sanitizers: str) -> tuple[Path, Path]:
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent  # which all test processes share
        name = f"library-{compiler}-{sanitizers}"
        folder = root / name.replace("+", "p").replace(",", "-")
        made = folder / "libsigdca.a", folder / "libsigdca-codec.a"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not all(path.exists() for path in made):
                make(folder, compiler, sanitizers)
        return made

    def make(folder: Path, compiler: str, sanitizers: str) -> None:
        compilers = {
            "CMAKE_C_COMPILER": compiler.replace("++", ""),
            "CMAKE_CXX_COMPILER": compiler,
        }
        options = {
            "CMAKE_BUILD_TYPE": "None",
            "CMAKE_CXX_FLAGS": " ".join(FLAGS[:2]),
            "SIGDCA_SANITIZE": sanitizers,
            "SIGDCA_CODEC": "ON",
            "SIGDCA_SHARED": "OFF",
            "SIGDCA_DCA_RUN": "OFF",
        }
        if compiler == "c++":
            compilers = {}
        settings = [f"-D{name}={value}" for name, value in (compilers | options).items()]
        run("cmake", "-G", "Ninja", "-S", NATIVE, "-B", folder, *settings)
        run("cmake", "--build", folder, "--target", "sigdca_static", "sigdca_codec_static")

    def program(compiler: str, sanitizers: str, sources: list[Path], made: Path) -> None:
        of_library = sanitizers.replace("fuzzer", "fuzzer-no-link")
        folders = (f"-I{NATIVE / 'src'}", f"-I{NATIVE / 'include'}", "-std=c++17")
        linked = (*libraries(compiler, of_library), "-lm", "-lpthread", "-o", made)
        run(compiler, f"-fsanitize={sanitizers}", *FLAGS, *folders, *sources, *linked)

    return program
