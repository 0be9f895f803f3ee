"""What a board has measured of the native library's kernels, as a small file of coefficients."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sigdca.errors import TargetError
from sigdca.targets.work import Step

MAX_CALIBRATION_BYTES = 1_000_000
SUFFIX = ".calibration.json"
FOLDER_VARIABLE = "SIGDCA_CALIBRATIONS"

# What each kernel's time grows with (`Step.counts`); a name of several words falls back on fewer.
CONV_COUNTS: Mapping[str, tuple[str, ...]] = {
    "sparse": ("run", "products", "taps", "packed", "stored"),
    "dense": ("run", "dense_products", "packed", "stored"),
    "int8": ("run", "dense_products", "packed", "stored"),
    "winograd": ("run", "tiles", "tile_inputs"),
    "depthwise": ("run", "products", "packed", "stored"),
}
FC_COUNTS: Mapping[str, tuple[str, ...]] = {
    "sparse-choice": ("run", "least", "columns"),
    "sparse-gather": ("run", "steps"),
    "sparse-registers": ("run", "dense_products", "columns"),
    "sparse-columns": ("run", "products", "columns", "rows"),
    "sparse-batch": ("run", "products", "columns"),
    "dense": ("run", "dense_products", "columns", "rows"),
    "int8": ("run", "dense_products", "columns", "rows"),
}

MEMORY = "memory:"  # what no cache holds takes its time in whichever kernel reads it
WORK = "dense_products"  # by which layers with weights are large or small
MOST_BEYOND = 2.0  # times the largest that a kernel was met with
DENSE_FC = "dense fc:"  # unpacks its weights before a run: how they are coded is nothing to it

Positive = Annotated[float, Field(gt=0)]
Coefficients = dict[str, Annotated[float, Field(ge=0)]]


class Calibration(BaseModel):
    """A board's kernels.

    Attributes:
        target: which target the board is one of.
        processor: what the board's kernel calls its processor.
        platform: the kernel's name and version.
        version: of sigdca.
        isa: the library's instruction set there.
        profile: `exact`, `fast` or `int8`.
        cache_bytes: of the last cache that a core does not share with many.
        num_networks: how many it was fitted to, on one thread, at batch 1.
        median_error: of networks that the fit had not seen, relative to what they took.
        band: what those took by what was predicted, from the 5th to the 95th percentile.
        microseconds: kernel -> what it grows with -> microseconds for each of it.
        largest: kernel -> the most work (`WORK`) that the library gave it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    target: str
    processor: str
    platform: str
    version: str
    isa: str
    profile: Literal["exact", "fast", "int8"]
    threads: Literal[1] = 1
    cache_bytes: Positive
    num_networks: Annotated[int, Field(ge=1)]
    median_error: Annotated[float, Field(ge=0)]
    band: tuple[Positive, Positive]
    microseconds: dict[str, Coefficients]
    largest: Coefficients = {}

    def time_us(self, step: Step) -> float | None:
        """What a step takes by the kernel that does it fastest; None if none is known."""
        for family in _families(step.family):
            start = (f"{family}:", *([DENSE_FC] if step.may_unpack else []))
            kernels = [kernel for kernel in self.microseconds if kernel.startswith(start)]
            if kernels:
                times = [
                    _product(self.microseconds[kernel], step)
                    for kernel in self._meant_for(step, kernels)
                ]
                return min(times) + _product(self.microseconds.get(MEMORY, {}), step)
        return None

    def _meant_for(self, step: Step, kernels: list[str]) -> list[str]:
        """Those that the library takes for so much work: others say little of it."""
        work = step.counts.get(WORK, 0.0)
        fits = [one for one in kernels if work <= MOST_BEYOND * self.largest.get(one, math.inf)]
        return fits or [max(kernels, key=lambda one: self.largest.get(one, math.inf))]


def _product(each: Mapping[str, float], step: Step) -> float:
    return sum(cost * step.counts.get(name, 0.0) for name, cost in each.items())


def counts_of(step: Step, kernel: str | None) -> tuple[str, tuple[str, ...]]:
    """Under which name a step's kernel is calibrated, and what its time grows with.

    Args:
        step: the step.
        kernel: what the library calls the kernel that does it; None: it has no weights.
    """
    if kernel is None:
        return f"{step.family}:", tuple(step.counts)
    if step.family.startswith("depthwise"):
        return f"{step.family}:", CONV_COUNTS["depthwise"]
    table = FC_COUNTS if step.family.startswith("fc") else CONV_COUNTS
    known = [name for name in table if name in kernel]
    # `int8-winograd` grows as Winograd's does, `reference` as what computes everything.
    counts = table[known[-1]] if known else table["dense"]
    if step.family.startswith("fc") and kernel == "dense":
        return DENSE_FC, counts
    return f"{step.family}:{kernel}", counts


def _families(family: str) -> list[str]:
    """The family, and for want of it those that are like it."""
    first = family.partition(" ")[0]
    if first == "fc":
        return [family, *(one for one in ("fc", "fc wide", "fc raw") if one != family)]
    likes = {"max_pool": "max_pool 3/2", "avg_pool": "avg_pool 2/2", "relu6": "relu"}
    others = [first, likes.get(first, "relu"), "max_pool 3/2" if "pool" in first else "relu"]
    weighty = first in ("conv", "depthwise")
    return [family, first, "conv"] if weighty else [family, *others]


def load_calibration(path: str | Path) -> Calibration:
    """Reads a file that `sigdca targets calibrate` wrote.

    Raises:
        TargetError: it cannot be read, or is not one.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_CALIBRATION_BYTES + 1)
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_CALIBRATION_BYTES:
        raise TargetError(f"{path}: larger than a calibration ({MAX_CALIBRATION_BYTES} bytes)")
    try:
        return Calibration.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise TargetError(f"{path}: {where + ': ' if where else ''}{problem['msg']}") from error


def calibration_path(name: str) -> Path | None:
    """Where a target's calibration lies; None if it has none.

    Args:
        name: of the target, or the path of its `.toml`: then the file lies beside that, as
            `NAME.calibration.json`; else in the folder that `SIGDCA_CALIBRATIONS` names.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    places = [Path(folder, f"{name}{SUFFIX}")] if folder and not name.endswith(".toml") else []
    if name.endswith(".toml"):
        places = [Path(name).with_suffix(SUFFIX)]
    return next((path for path in places if path.is_file()), None)


def calibration_of(name: str) -> Calibration | None:
    """A target's calibration, if it has one.

    Raises:
        TargetError: its file is not a calibration, or of another target.
    """
    path = calibration_path(name)
    return None if path is None else load_calibration(path)
