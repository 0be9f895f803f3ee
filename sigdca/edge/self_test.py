"""The self-test: a container's logits on a few built-in images, as one hash.

    python -m sigdca.edge.self_test MODEL.dca

The native engine's exact profile gives the same bits on every instruction set, so the hash that
the signer has made must come out on the device. It runs in a process of its own there: a model
that crashes or hangs its engine takes nothing along.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigdca.engines.agreement import logits_sha256
from sigdca.errors import EngineError, SigdcaError
from sigdca.native import Model, Session

NUM_IMAGES = 8
TIMEOUT_S = 120.0
MAX_SAID_CHARS = 300


def built_in_images(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Black, white, a ramp, and noise from SHAKE-256: the same on every machine, for ever.

    Args:
        shape: (C, H, W).

    Returns:
        uint8 [8, C, H, W].
    """
    count = int(np.prod(shape))
    images = np.empty((NUM_IMAGES, count), np.uint8)
    images[0], images[1] = 0, 255
    images[2] = np.arange(count) % 256
    for number in range(3, NUM_IMAGES):
        noise = hashlib.shake_256(b"sigdca self-test %d" % number).digest(count)
        images[number] = np.frombuffer(noise, np.uint8)
    return images.reshape(NUM_IMAGES, *shape)


def self_test(container: bytes | Path) -> str:
    """The hash of the container's logits on the built-in images.

    Raises:
        FormatError: the container is not sound.
        EngineError: the library is missing, or a logit is not finite.
    """
    session = Session(Model(container), profile="exact")
    return logits_sha256(session.run(built_in_images(session.model.info.input_shape)))


def self_test_apart(container: Path) -> str:
    """The same in a process of its own.

    Raises:
        EngineError: it crashed, refused the container, or took too long.
    """
    # The package is found where this process has found it, however that was started.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sigdca.edge.self_test", str(container)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"self-test: no result within {TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise EngineError(f"self-test: cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-MAX_SAID_CHARS:]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise EngineError(f"self-test: ended with {how}: {said or 'it said nothing'}")
    return done.stdout.decode("ascii", "replace").strip()


def main(arguments: list[str]) -> int:
    """Prints the hash; 2 bad input, 3 a fault."""
    try:
        print(self_test(Path(arguments[0])))
    except SigdcaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
