"""What runs a model on the target's side: `dca-run`, or a library in a Python of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sigdca.errors import EngineError, FormatError, TargetError
from sigdca.native.programs import find_program, missing_program
from sigdca.targets import Target

PYTHON_RUNNER = "sigdca.edge.runner"
MAX_RESULT_BYTES = 100_000

_OWN = ("SIGDCA_TRTEXEC", "XDG_CACHE_HOME")  # where TensorRT and its engine files are
_SETTINGS = ("--profile", "exact", "--threads", "1", "--json")  # of dca-run

_T = TypeVar("_T")


@dataclass(frozen=True)
class Told:
    """What a run said of itself.

    Attributes:
        engine: name and version.
        runtime: versions, machine and vector extensions as seen from inside.
        latency_us: of one image at batch 1; None if it took no times.
        logits_sha256: of the logits that it computed, where it says so.
        memory_bytes: the most that model and session held, where it says so.
    """

    engine: str
    runtime: str
    latency_us: float | None = None
    logits_sha256: str | None = None
    memory_bytes: int | None = None


class Runner(Protocol):
    """A way to run a model in processes on the target's side.

    Each process finds `images.npy` and `labels.npy` in its folder and leaves `logits.npy` there.
    Its standard output is in the file `stdout`.
    """

    @property
    def model_name(self) -> str:
        """What the model's file is called."""
        ...

    def environment(self) -> dict[str, str]:
        """What the processes find in their environment besides what all get."""
        ...

    def test(self, model: Path, folder: Path, *, emulated: bool) -> list[str]:
        """The command that computes all logits; begins with the program's absolute path."""
        ...

    def told(self, folder: Path) -> Told:
        """What `test` said.

        Raises:
            FormatError: it is not what it must be.
        """
        ...

    def bench(self, model: Path) -> list[str] | None:
        """The command that measures a latency; None where `test` does."""
        ...

    def latency_us(self, folder: Path) -> float:
        """What `bench` measured.

        Raises:
            FormatError: it is not what it must be.
        """
        ...


@dataclass(frozen=True)
class NativeRunner:
    """`dca-run`: the container as it is, in the profile whose bits are the same everywhere."""

    program: Path
    model_name: str = "model.dca"

    def environment(self) -> dict[str, str]:
        """See `Runner`: none, so that the program chooses the instruction set by itself."""
        return {}

    def test(self, model: Path, folder: Path, *, emulated: bool) -> list[str]:
        """See `Runner`."""
        files = ["--images", str(folder / "images.npy"), "--labels", str(folder / "labels.npy")]
        files += ["--logits", str(folder / "logits.npy")]
        return [str(self.program), "test", str(model), *files, *_SETTINGS, "--no-times"]

    def told(self, folder: Path) -> Told:
        """See `Runner`."""
        result = _read(folder / "stdout")
        isa, threads = _of(result, "isa", str), _of(result, "threads", int)
        profile = _of(result, "profile", str)
        return Told(
            engine=_of(result, "engine", str),
            runtime=f"dca-run, {isa}, {profile} profile, {_threads(threads)}",
            logits_sha256=_of(result, "logits_sha256", str),
            # The program may be a package's from before it told that.
            memory_bytes=_of(result, "memory_bytes", int) if "memory_bytes" in result else None,
        )

    def bench(self, model: Path) -> list[str] | None:
        """See `Runner`."""
        return [str(self.program), "bench", str(model), *_SETTINGS]

    def latency_us(self, folder: Path) -> float:
        """See `Runner`: the median of its runs."""
        return float(_of(_read(folder / "stdout"), "p50_us", (int, float)))


@dataclass(frozen=True)
class PythonRunner:
    """`sigdca.edge.runner` in this interpreter: a model in a library, or in TensorRT.

    Attributes:
        engine: what the module calls it.
        extra: what brings the package of that name; None: it is a program of its own.
        model_name: what the model's file is called.
    """

    engine: str
    extra: str | None
    model_name: str

    def environment(self) -> dict[str, str]:
        """See `Runner`: where the bare interpreter finds this one's packages.

        Raises:
            EngineError: the engine is not installed here.
        """
        folders: list[str] = []
        packages = ("sigdca", "numpy") + (() if self.extra is None else (self.engine,))
        for package in packages:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                raise EngineError(
                    f"engine '{package}': not installed; pip install 'sigdca[{self.extra}]'"
                )
            folder = str(Path(spec.origin).parent.parent)
            if folder not in folders:
                folders.append(folder)
        own = {name: os.environ[name] for name in _OWN if name in os.environ}
        return own | {
            "PYTHONPATH": os.pathsep.join(folders),
            "PYTHONSAFEPATH": "1",  # nothing in the working folder can shadow a module
            "PYTHONNOUSERSITE": "1",
        }

    def test(self, model: Path, folder: Path, *, emulated: bool) -> list[str]:
        """See `Runner`."""
        # A virtual environment's own `python` is a link; an emulator wants the program itself.
        python = os.path.realpath(sys.executable)
        files = [str(model), str(folder / "images.npy"), str(folder)]
        options = ["--engine", self.engine, *(["--emulated"] if emulated else [])]
        return [python, "-m", PYTHON_RUNNER, *files, *options]

    def told(self, folder: Path) -> Told:
        """See `Runner`."""
        result = _read(folder / "result.json")
        parts = [
            _of(result, "engine", str),
            f"numpy {_of(result, 'numpy', str)}",
            f"Python {_of(result, 'python', str)}",
            _of(result, "machine", str),
            _threads(_of(result, "threads", int)),
        ]
        simd = _of(result, "simd", list)
        if simd:
            parts.append(f"numpy finds {' '.join(map(str, simd))}")
        latency: float | None = _of(result, "latency_us", (int, float, type(None)))
        return Told(parts[0], ", ".join(parts), latency)

    def bench(self, model: Path) -> list[str] | None:
        """See `Runner`."""
        return None

    def latency_us(self, folder: Path) -> float:
        """See `Runner`."""
        raise NotImplementedError


def _native(target: Target) -> Runner:
    program = find_program(target.device.machine)
    if program is None:
        raise TargetError(f"target '{target.name}': {missing_program(target.device.machine)}")
    return NativeRunner(program)


def _onnxruntime(_target: Target) -> Runner:
    return PythonRunner("onnxruntime", "edge", "model.onnx")


def _openvino(_target: Target) -> Runner:
    return PythonRunner("openvino", "openvino", "model.openvino")


def _tensorrt(target: Target) -> Runner:
    return PythonRunner(target.engine, None, "model.onnx")


RUNNERS: dict[str, Callable[[Target], Runner]] = {
    "native": _native,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "openvino-int8": _openvino,
    "tensorrt": _tensorrt,
    "tensorrt-fp16": _tensorrt,
}
ON_DEVICES_ALONE = ("tensorrt", "tensorrt-fp16")  # no emulation has a GPU


def runner_for(target: Target) -> Runner:
    """What runs the target's engine in a test leg.

    Raises:
        EngineError: no test leg runs that engine.
        TargetError: its program is missing.
    """
    if target.engine not in RUNNERS:
        raise EngineError(
            f"target '{target.name}': its engine {target.engine} is not there; test legs run "
            f"{', '.join(RUNNERS)}"
        )
    return RUNNERS[target.engine](target)


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number != 1)}"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object that nobody vouches for."""
    try:
        with open(path, "rb") as file:
            result = json.loads(file.read(MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"test leg: {path.name}: {error}") from error
    if not isinstance(result, dict):
        raise FormatError(f"test leg: {path.name}: must be a JSON object")
    return result


def _of(result: dict[str, Any], key: str, kind: type[_T] | tuple[type, ...]) -> _T:
    if key not in result:
        raise FormatError(f"test leg: key '{key}' is missing from its result")
    value: _T = result[key]
    if not isinstance(value, kind):
        raise FormatError(f"test leg: key '{key}' of its result: got {value!r}"[:300])
    return value
