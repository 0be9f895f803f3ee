"""A container with its images, the programs of the wheel and of target packages, and checks.

Checks are programs of C++ with the library in them, built with a compiler's sanitizers.
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import Graph, Op, encode_container
from sigdca.codec.graph import expected_tensors
from sigdca.engines import Logits
from sigdca.native import Model, Session
from sigdca.native.programs import find_program
from tests.conftest import lacks

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "sigdca/native"
NUM_IMAGES = 37
FLAGS = ("-O1", "-g1", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror")
COMPILERS = {
    "aarch64-a57": "aarch64-linux-gnu-g++",
    "x86-64-v2-goldmont": "g++" if platform.machine() == "x86_64" else "x86_64-linux-gnu-g++",
}
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # cmake may lie beside Python

Package = Callable[[str], Path]
# Compiler, sanitizers, sources, the program to make of them with the library, more options.
Build = Callable[..., None]


@dataclass(frozen=True)
class Case:
    """What dca-run is given, and what the exact profile makes of it here."""

    model: Path
    images: Path
    labels: Path
    pixels: np.ndarray
    reference: Logits


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Every kind of layer whose rounding a compiler or a math library could change."""
    folder = tmp_path_factory.mktemp("case")
    rng = np.random.default_rng(0)
    graph = _graph()
    content = encode_container(graph, _tensors(graph, rng))
    pixels = rng.integers(0, 256, (NUM_IMAGES, *graph.input_shape), dtype=np.uint8)
    reference = Session(Model(content), profile="exact", isa="reference").run(pixels)
    labels = reference.argmax(axis=1).astype(np.uint8)
    labels[:5] = (labels[:5] + 1) % 10
    made = Case(folder / "m.dca", folder / "x.npy", folder / "y.npy", pixels, reference)
    made.model.write_bytes(content)
    np.save(made.images, pixels)
    np.save(made.labels, labels)
    return made


def _graph() -> Graph:
    window = {"stride": (1, 1), "padding": (2, 2), "dilation": (1, 1), "bias": 1}
    pool = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 1}
    ops = (
        Op("conv", "c1", (0,), {"out_channels": 8, "kernel": (5, 5), "groups": 1, **window}),
        Op("batch_norm", "b1", (1,), {"eps": 1e-5}),
        Op("relu", "", (2,)),
        Op("lrn", "", (3,), {"size": 5, "alpha": 1e-2, "beta": 0.75, "k": 1.0}),
        Op("max_pool", "", (4,), pool),
        Op("conv", "c2", (5,), {"out_channels": 12, "kernel": (3, 3), "groups": 2, **window}),
        Op("relu6", "", (6,)),
        Op("avg_pool", "", (7,), pool | {"include_pad": 0}),
        Op("flatten", "", (8,)),
        Op("fc", "f1", (9,), {"out_features": 50, "bias": 1}),
        Op("relu", "", (10,)),
        Op("fc", "f2", (11,), {"out_features": 10, "bias": 1}),
    )
    return Graph((1, 21, 19), 1 / 256, ops)


def _tensors(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    tensors = {}
    for name, shape in expected_tensors(graph).items():
        value = rng.standard_normal(shape).astype(np.float32)
        if name.endswith("running_var"):
            value = np.abs(value) + 1
        elif len(shape) > 1:  # seven in ten are zero, the others share 15 values
            centroids = rng.standard_normal(15).astype(np.float32) / np.prod(shape[1:]) ** 0.5
            value = centroids[rng.integers(0, 15, shape)] * (rng.random(shape) < 0.3)
        tensors[name] = value.astype(np.float32)
    return tensors


@pytest.fixture(scope="session")
def dca_run() -> Path:
    """The installed program for this machine."""
    program = find_program(platform.machine())
    assert program is not None, "dca-run is not installed: make setup"
    return program


@pytest.fixture(scope="session")
def native_package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Builds a target's package (once; build/ keeps what is built) and unpacks it."""

    @functools.cache
    def unpacked(target: str) -> Path:
        compiler = COMPILERS[target]
        if shutil.which(compiler) is None:
            lacks(f"{compiler} is not installed: make compilers")
        script = ROOT / "scripts/native-target.sh"
        built = subprocess.run([script, target], capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-4000:]
        folder = tmp_path_factory.mktemp(target)
        shutil.unpack_archive(ROOT / built.stdout.strip(), folder, filter="data")
        (package,) = folder.iterdir()
        return package

    return unpacked


@pytest.fixture(scope="session")
def emulator() -> Callable[[str], list[str]]:
    """The command that runs a target's programs here."""

    def command(target: str) -> list[str]:
        program, cpu = {
            "aarch64-a57": ("qemu-aarch64", "cortex-a57"),
            "x86-64-v2-goldmont": ("qemu-x86_64", "Denverton"),
        }[target]
        found = shutil.which(program) or shutil.which(f"{program}-static")
        if found is None:
            lacks(f"{program} is not installed: make emulators")
        return [found, "-cpu", cpu]

    return command


def run(*command: object) -> None:
    found = shutil.which(str(command[0]), path=PATH)
    assert found is not None, f"{command[0]} is not installed: make compilers"
    done = subprocess.run([found, *map(str, command[1:])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


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

    def program(
        compiler: str, sanitizers: str, sources: list[Path], made: Path, *options: str
    ) -> None:
        of_library = sanitizers.replace("fuzzer", "fuzzer-no-link")
        folders = (f"-I{NATIVE / 'src'}", f"-I{NATIVE / 'include'}", "-std=c++17")
        linked = (*libraries(compiler, of_library), "-lm", "-lpthread", "-o", made)
        flags = (f"-fsanitize={sanitizers}", *FLAGS, *options)
        run(compiler, *flags, *folders, *sources, *linked)

    return program
