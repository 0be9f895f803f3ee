"""The TensorRT engine, by its own command line `trtexec` (TensorRT 8.2, as JetPack 4.6 has it).

TensorRT's Python binding on a TX2 is of Python 3.6, so a process of its own is the way there. An
engine file holds for one device and one version: it is built there, once, and kept. Logits come
back as decimal text of about six digits: they can be compared, but their bits mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.agreement import Logits, check_logits
from sigdca.errors import EngineError

INPUT, OUTPUT = "pixels", "logits"  # as `onnx_export` names them
BATCH = 25  # divides the shares of TEST, `sigdca.training.evaluate.SHARE_UNIT`
WORKSPACE_MIB = 1024
BUILD_TIMEOUT_S = 3600.0  # a TX2 tries tactics for many minutes
RUN_TIMEOUT_S = 600.0
WARM_UP_MS = 500
_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
_VERSION = re.compile(r"\[TensorRT v(\d{4,6})\]")


class TensorRtEngine:
    """Executes an ONNX model on the GPU.

    Attributes:
        name: `tensorrt`, or `tensorrt-fp16`.
        batch_size: images that a run takes.
        version: such as `8.2.1`.
        plan: the engine's file.
    """

    batch_size = BATCH

    def __init__(self, model: bytes, shape: Sequence[int], *, fp16: bool = False) -> None:
        """Builds the engine for this device, or finds it where it was built before.

        Args:
            model: an ONNX file as `sigdca.engines.to_onnx` makes it.
            shape: (C, H, W) of an image.
            fp16: let TensorRT compute in half precision where that is faster.

        Raises:
            EngineError: there is no trtexec, or it refuses the model.
        """
        self.name = "tensorrt-fp16" if fp16 else "tensorrt"
        self._shape = tuple(shape)
        self._program = find_trtexec()
        self.version = _version_of(self._run(["--help"], RUN_TIMEOUT_S))
        key = hashlib.sha256(b"\0".join([model, *map(str.encode, self._build_options(fp16))]))
        for part in (self.version, _device(), str(self._shape)):
            key.update(b"\0" + part.encode())
        self.plan = _cache() / f"{key.hexdigest()}.plan"
        if not self.plan.is_file():
            self._build(model, fp16)

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `Engine.logits`."""
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or len(images) == 0:
            raise EngineError(
                f"{self.name}: images must be uint8 [n, {', '.join(map(str, self._shape))}], got "
                f"{images.dtype} {list(images.shape)}"
            )
        parts = [self._logits(images[at : at + BATCH]) for at in range(0, len(images), BATCH)]
        if len({part.shape[1] for part in parts}) > 1:
            raise EngineError(f"{self.name}: logits of several shapes")
        return check_logits(np.concatenate(parts), len(images), self.name)

    def latency_ms(self, num_runs: int = 500) -> float:
        """Median time of one image, copies to and from the GPU included, without the warm-up.

        Raises:
            EngineError: trtexec fails, or says it in another way than known.
        """
        with tempfile.TemporaryDirectory(prefix="sigdca-trt-") as name:
            times = Path(name, "times.json")
            options = [f"--iterations={num_runs}", f"--warmUp={WARM_UP_MS}"]
            self._infer(1, [*options, f"--exportTimes={times}"])
            return statistics.median(parse_times(_read(times, self.name), WARM_UP_MS, self.name))

    def _logits(self, images: NDArray[np.uint8]) -> Logits:
        with tempfile.TemporaryDirectory(prefix="sigdca-trt-") as name:
            pixels, output = Path(name, "pixels.bin"), Path(name, "output.json")
            pixels.write_bytes(np.ascontiguousarray(images, dtype="<f4").tobytes())
            once = ["--iterations=1", "--duration=0", "--warmUp=0", "--avgRuns=1"]
            files = [f"--loadInputs={INPUT}:{pixels}", f"--exportOutput={output}"]
            self._infer(len(images), [*once, *files])
            return parse_output(_read(output, self.name), len(images), self.name)

    def _infer(self, num_images: int, options: Sequence[str]) -> None:
        command = [f"--loadEngine={self.plan}", f"--shapes={self._binding(num_images)}"]
        self._run([*command, *options], RUN_TIMEOUT_S)

    def _binding(self, num_images: int) -> str:
        return f"{INPUT}:{'x'.join(map(str, (num_images, *self._shape)))}"

    def _build_options(self, fp16: bool) -> list[str]:
        options = [
            f"--minShapes={self._binding(1)}",
            f"--optShapes={self._binding(BATCH)}",
            f"--maxShapes={self._binding(BATCH)}",
        ]
        numbers = tuple(map(int, self.version.split(".")[:2]))
        # --workspace went with 8.4, --buildOnly with 8.6.
        old, new = f"--workspace={WORKSPACE_MIB}", f"--memPoolSize=workspace:{WORKSPACE_MIB}"
        options.append(old if numbers < (8, 4) else new)
        options.append("--buildOnly" if numbers < (8, 6) else "--skipInference")
        # Ampere and later would take TF32 for float32: 10 bits of mantissa.
        return [*options, "--fp16" if fp16 else "--noTF32"]

    def _build(self, model: bytes, fp16: bool) -> None:
        """The plan appears whole or not at all."""
        self.plan.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=self.plan.parent) as name:
            source, plan = Path(name, "model.onnx"), Path(name, "model.plan")
            source.write_bytes(model)
            files = [f"--onnx={source}", f"--saveEngine={plan}"]
            self._run([*files, *self._build_options(fp16)], BUILD_TIMEOUT_S)
            if not plan.is_file():
                raise EngineError(f"{self.name}: trtexec saved no engine")
            os.replace(plan, self.plan)

    def _run(self, options: Sequence[str], timeout_s: float) -> str:
        """What trtexec says, if it comes to a good end."""
        try:
            done = subprocess.run(
                [self._program, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except OSError as error:
            raise EngineError(f"{self.name}: {self._program}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"{self.name}: trtexec gave no result in {timeout_s:.0f} s"
            ) from error
        said = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0 or "&&&& FAILED" in said:
            raise EngineError(f"{self.name}: trtexec failed: {why_failed(said, done.returncode)}")
        return said


def find_trtexec() -> str:
    """The program: `SIGDCA_TRTEXEC`, else on the PATH, else where JetPack has it.

    Raises:
        EngineError: it is nowhere.
    """
    named = os.environ.get("SIGDCA_TRTEXEC")
    for program in (named,) if named else ("trtexec", *_PLACES):
        found = shutil.which(program)
        if found is not None:
            return found
    where = f"SIGDCA_TRTEXEC ({named})" if named else f"the PATH or in {', '.join(_PLACES)}"
    raise EngineError(
        f"tensorrt: trtexec is not on {where}; it comes with TensorRT (JetPack) on the device"
    )


def why_failed(said: str, code: int) -> str:
    """The first error of trtexec's lines, which are `[05/18/2023-21:52:15] [E] ...`."""
    for line in said.splitlines():
        found = re.match(r"\[[^]]*\] \[E\] (.+)", line)
        if found:
            return found[1].removeprefix("[TRT] ")[:300]
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return f"ended with {how}" + (", out of memory?" if code in (-9, 137) else "")


def parse_output(text: str, num_images: int, where: str) -> Logits:
    """The logits in a file of `--exportOutput`.

    Args:
        text: a list of tensors: `name`, `dimensions` ("32x10"), `values`.
        num_images: how many rows there must be.
        where: opens the message of an error.

    Raises:
        EngineError: they are not there, or not what they must be.
    """
    tensors = _list_of_objects(text, where)
    found = [one for one in tensors if one.get("name") == OUTPUT]
    if len(found) != 1:
        names = ", ".join(str(one.get("name")) for one in tensors) or "none"
        raise EngineError(f"{where}: no output '{OUTPUT}' among {names}")
    dimensions, values = str(found[0].get("dimensions")), found[0].get("values")
    sizes = dimensions.split("x")
    if len(sizes) != 2 or not all(size.isdecimal() for size in sizes):
        raise EngineError(f"{where}: '{OUTPUT}' must be n x K, got {dimensions[:60]}")
    shape = int(sizes[0]), int(sizes[1])
    count = len(values) if isinstance(values, list) else "no"
    if not isinstance(values, list) or shape[0] != num_images or count != shape[0] * shape[1]:
        raise EngineError(f"{where}: {num_images} images gave {dimensions} with {count} values")
    if not all(type(one) in (int, float) for one in values):
        raise EngineError(f"{where}: '{OUTPUT}' has values that are no numbers")
    return np.array(values, np.float32).reshape(shape)


def parse_times(text: str, warm_up_ms: float, where: str) -> list[float]:
    """Milliseconds of each run in a file of `--exportTimes`, which holds the warm-up as well.

    Args:
        text: a list of runs: `startComputeMs`, `latencyMs` and others.
        warm_up_ms: runs that began earlier are left out.
        where: opens the message of an error.

    Raises:
        EngineError: it is another kind of file, or nothing is left.
    """
    times = []
    for run in _list_of_objects(text, where):
        start, latency = run.get("startComputeMs"), run.get("latencyMs")
        if not isinstance(start, int | float) or not isinstance(latency, int | float):
            raise EngineError(f"{where}: a run without startComputeMs or latencyMs")
        if start >= warm_up_ms:
            times.append(float(latency))
    if not times:
        raise EngineError(f"{where}: no run began after the warm-up of {warm_up_ms:.0f} ms")
    return times


def _list_of_objects(text: str, where: str) -> list[dict[str, Any]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Numbers that are none are printed as `nan`, which JSON has no word for.
        raise EngineError(f"{where}: trtexec wrote no JSON: {str(error)[:100]}") from error
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise EngineError(f"{where}: trtexec wrote another JSON than a list of objects")
    return content


def _version_of(said: str) -> str:
    found = _VERSION.search(said)
    if found is None:
        raise EngineError("tensorrt: trtexec does not say its version; is it older than 8.0?")
    digits = found[1]  # 8201 is 8.2.1, 100300 is 10.3.0
    parts = re.fullmatch(r"(\d)(\d)(\d\d)|(\d\d)(\d\d)(\d\d)", digits)
    if parts is None:
        raise EngineError(f"tensorrt: trtexec is of an unknown kind of version: v{digits}")
    return ".".join(str(int(one)) for one in parts.groups() if one is not None)


def _device() -> str:
    """What an engine is tied to, beside TensorRT's version."""
    parts = []
    for path in ("/proc/device-tree/model", "/etc/machine-id"):
        try:
            parts.append(Path(path).read_text(errors="replace").strip("\0\n"))
        except OSError:
            continue
    return " ".join(parts)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "sigdca", "tensorrt")


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise EngineError(f"{where}: trtexec wrote no {path.name}: {error.strerror}") from error
