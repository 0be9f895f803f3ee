"""A peer in a process of its own, spoken to by one line a request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.install import environment

WORKER = Path(__file__).with_name("worker.py")


class PeerError(Exception):
    """A peer cannot be installed, or cannot run the network; the message says why."""


@dataclass(frozen=True)
class Kind:
    """A peer.

    Attributes:
        group: its environment; None: sigdca's own.
        suffix: of its model file.
        arithmetic: what it computes in.
    """

    group: str | None
    suffix: str
    arithmetic: str


PEERS = {
    "litert-int8": Kind("run", "-int8.tflite", "int8"),
    "litert-int8-avx512": Kind("run", "-int8.tflite", "int8"),  # without AMX
    "litert": Kind("run", "-f32.tflite", "float32"),
    "ncnn": Kind("run", ".param", "float32"),
    "onnxruntime": Kind("run", ".onnx", "float32"),
    "openvino": Kind("run", ".onnx", "float32"),
    "openvino-bf16": Kind("run", ".onnx", "bfloat16"),
    "deepsparse": Kind("deepsparse", ".onnx", "float32"),
    "torch": Kind(None, ".npz", "float32"),
}


class Peer:
    """A peer that has loaded a network.

    Attributes:
        name: a key of `PEERS`.
    """

    def __init__(
        self, name: str, model: Path, images: NDArray[np.uint8], scale: float, threads: int = 1
    ) -> None:
        """Starts the process and loads the network.

        Args:
            name: a key of `PEERS`.
            model: the network's files without their suffix, as `write_models` made them.
            images: uint8 [batch, C, H, W]; what it runs, again and again.
            scale: x = pixel * scale, done outside the measured time where a peer wants floats.
            threads: that it may use.

        Raises:
            PeerError: it is not to be had here, or refuses the network.
        """
        self.name = name
        kind = PEERS[name]
        try:
            python = Path(sys.executable) if kind.group is None else environment(kind.group)
        except subprocess.CalledProcessError as error:
            raise PeerError(f"{name}: pip failed with exit code {error.returncode}") from error
        inputs = model.with_name(f"{model.name}-{len(images)}.npy")
        np.save(inputs, images)
        path = model.with_name(model.name + kind.suffix)
        arguments = [name, str(path), str(inputs), repr(scale), str(threads)]
        # Some read the number of threads from here alone.
        settings = {"OMP_NUM_THREADS": str(threads), "NM_BIND_THREADS_TO_CORES": "0"}
        unset = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self._process = subprocess.Popen(
            [str(python), str(WORKER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=inherited | settings,
        )
        self._answer()

    def run(self, repeats: int, warm_up: int) -> list[float]:
        """Microseconds of each call: input set, network run, output fetched, all from Python."""
        return [float(value) for value in self._ask({"run": warm_up + repeats})][warm_up:]

    def logits(self) -> NDArray[np.float32]:
        """Float32 [batch, K] of its images."""
        return np.array(self._ask({"logits": 1}), np.float32)

    def peak_bytes(self) -> int:
        """The most memory that its process has held, Python and numpy left out."""
        return int(self._ask({"peak_bytes": 1}))

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, int]):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        # Libraries print what they like; an answer is a line of ours.
        for line in self._process.stdout:
            if line.startswith("peer: "):
                answer = json.loads(line.removeprefix("peer: "))
                if "error" in answer:
                    raise PeerError(f"{self.name}: {answer['error']}")
                return answer["result"]
        raise PeerError(f"{self.name}: ended with exit code {self._process.wait(30)}")
