"""What logits say: their hash, the hits, how far those of two engines lie apart. numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigdca.errors import EngineError

Logits = NDArray[np.float32]


class NotFiniteError(EngineError):
    """A network gives a logit that is infinite or not a number."""


@dataclass(frozen=True)
class Counts:
    """Hits of a test, as whole numbers: those of several shares add up exactly.

    Attributes:
        num_correct: images whose largest logit is at their label.
        num_samples: images tested.
    """

    num_correct: int
    num_samples: int

    @property
    def accuracy(self) -> float:
        """Percent of the images that are right."""
        return 100 * self.num_correct / self.num_samples

    @property
    def error(self) -> float:
        """Percent of the images that are wrong."""
        return 100 * (self.num_samples - self.num_correct) / self.num_samples


@dataclass(frozen=True)
class Comparison:
    """How logits differ from a reference.

    Attributes:
        max_abs_difference: the largest difference of two logits.
        scale: the largest absolute logit of the reference, which differences are relative to.
        argmax_flips: images whose largest logit is at another place.
        equal_bits: whether every bit is the same.
    """

    max_abs_difference: float
    scale: float
    argmax_flips: int
    equal_bits: bool


def check_logits(logits: object, num_images: int, where: str) -> Logits:
    """Makes sure that an engine gave what it must, before any figure is drawn from it.

    Args:
        logits: what it gave.
        num_images: how many images it was given.
        where: the engine's name, for the message.

    Returns:
        The same array, contiguous and little-endian.

    Raises:
        NotFiniteError: a value is not finite.
        EngineError: not float32 [num_images, K]. There are engines that return an empty result
            without an error.
    """
    if not isinstance(logits, np.ndarray):
        raise EngineError(f"{where}: logits must be an array, got {type(logits).__name__}")
    if logits.dtype.newbyteorder("=") != np.float32:
        raise EngineError(f"{where}: logits must be float32, got {logits.dtype}")
    if logits.ndim != 2 or logits.shape[0] != num_images or logits.shape[1] < 1:
        raise EngineError(f"{where}: logits must have shape ({num_images}, K), got {logits.shape}")
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise NotFiniteError(f"{where}: logits of image {first} are not finite")
    return np.ascontiguousarray(logits, dtype="<f4")


def logits_sha256(logits: Logits) -> str:
    """Sha256 of the raw little-endian float32 logits in the images' order, as hex digits."""
    return hashlib.sha256(np.ascontiguousarray(logits, dtype="<f4").tobytes()).hexdigest()


def evaluate(logits: Logits, labels: NDArray[np.integer]) -> Counts:
    """Counts the hits.

    Args:
        logits: float32 [n, K].
        labels: [n], whole numbers from 0 to K - 1.

    Raises:
        EngineError: there are not as many labels as logits, or none at all.
    """
    if len(logits) != len(labels) or len(logits) == 0:
        raise EngineError(f"logits: {len(logits)} images but {len(labels)} labels")
    return Counts(int(np.count_nonzero(logits.argmax(axis=1) == labels)), len(logits))


def compare(logits: Logits, reference: Logits) -> Comparison:
    """Compares logits with those of another engine or machine.

    Args:
        logits: float32 [n, K], finite.
        reference: the same shape.

    Raises:
        EngineError: the shapes differ.
    """
    if logits.shape != reference.shape or logits.size == 0:
        raise EngineError(f"logits: shape {logits.shape}, the reference has {reference.shape}")
    exact = reference.astype(np.float64)
    difference = np.abs(logits.astype(np.float64) - exact)
    flips = logits.argmax(axis=1) != reference.argmax(axis=1)
    return Comparison(
        max_abs_difference=float(difference.max()),
        scale=float(np.abs(exact).max()),
        argmax_flips=int(np.count_nonzero(flips)),
        equal_bits=logits_sha256(logits) == logits_sha256(reference),
    )
