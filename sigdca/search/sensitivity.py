"""What single layers stand, and what follows: narrower ranges, points to begin with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sigdca.job import Alternative, Dimension
from sigdca.search.space import Point, Space, Suggest, draw, parameters, steps

Kind = Literal["sparsity", "bits", "step"]

_PATHS = re.compile(r"compress\.recipe\.\d+\.(?:prune|share|quantize|rdoq)\.(sparsity|bits|step)")
TOLERANCES = (0.5, 2.0, 8.0)  # percentage points that one layer alone may cost, a point each
FREE = 0.0  # what one layer alone may cost for a bound: nothing
MAX_SEEDS = 12


class Curve(BaseModel):
    """The accuracy when one layer alone is changed.

    Attributes:
        layer: its name.
        layer_kind: `conv` or `fc`.
        kind: what was changed.
        levels: to what, from harmless to harsh.
        accuracy: in percent, for each level.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: str
    layer_kind: str
    kind: Kind
    levels: tuple[float, ...]
    accuracy: tuple[float, ...]

    def harshest(self, least: float) -> float | None:
        """The harshest level up to which the accuracy never falls below `least`."""
        found = None
        for level, accuracy in zip(self.levels, self.accuracy, strict=True):
            if accuracy < least:
                break
            found = level
        return found


class Sensitivity(BaseModel):
    """A scan of all layers.

    Attributes:
        key: hash of what determines it.
        num_images: of the train split.
        accuracy: of the uncompressed network on them, percent.
        curves: by layer and kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    num_images: int
    accuracy: float
    curves: tuple[Curve, ...]

    def harshest(self, kind: str, key: str, tolerance: float) -> float | None:
        """The harshest level that every layer a key speaks of stands at this tolerance."""
        levels = [
            curve.harshest(self.accuracy - tolerance)
            for curve in self.curves
            if curve.kind == kind and _speaks_of(key, curve, self.curves)
        ]
        known = [level for level in levels if level is not None]
        if not known or len(known) < len(levels):
            return None
        return max(known) if kind == "bits" else min(known)


def kinds_of(space: Space) -> list[Kind]:
    """What of the layers a space asks about."""
    found = {kind for _, path, _ in parameters(space) if (kind := _layer_setting(path)[0])}
    return sorted(found)  # type: ignore[arg-type]  # the pattern has these three


def narrowed(
    space: Space, sensitivity: Sensitivity, own: Sequence[Point], prefix: str = ""
) -> dict[str, Dimension]:
    """The space without what is hardly of use.

    A layer that alone loses nothing at some sparsity, even without retraining, need not be less
    sparse; the same for bits and steps. All layers together may lose something there, so this is
    a rule of thumb: what the job's file itself says stays inside.

    Args:
        space: the job's.
        sensitivity: the scan.
        own: the points of the job's file, by `own_points`.
        prefix: what the names of this space's parameters begin with.
    """
    found = {}
    for path, dimension in space.items():
        name = prefix + path
        if dimension.optional is not None:
            inside = narrowed(dimension.optional, sensitivity, own, prefix)
            found[path] = Dimension(optional=inside)
        elif isinstance(dimension.choice, dict):
            found[path] = Dimension(
                choice={
                    label: Alternative(
                        value=one.value,
                        space=narrowed(one.space, sensitivity, own, f"{name}={label}:"),
                    )
                    for label, one in dimension.choice.items()
                }
            )
        else:
            given = [point[name] for point in own if name in point]
            found[path] = _narrowed(path, dimension, sensitivity, given)
    return found


def seeds(space: Space, sensitivity: Sensitivity | None, own: Sequence[Point]) -> list[Point]:
    """Points to begin with.

    All layers as harsh as each stands alone, at three tolerances, in each alternative in turn;
    what no scan knows of as the job's file has it.

    Args:
        space: the job's, narrowed.
        sensitivity: the scan, if there was one.
        own: the points of the job's file, by `own_points`; they are not among the seeds.
    """
    found: list[Point] = []
    for number, tolerance in enumerate(TOLERANCES):
        for wanted in _alternatives(space):
            harshness = (number + 1) / (len(TOLERANCES) + 1)
            seed = _Seed(sensitivity, tolerance, harshness, _given(own), wanted)
            draw(space, seed)
            if seed.point not in [*own, *found]:
                found.append(seed.point)
    return found[:MAX_SEEDS]


def _given(own: Sequence[Point]) -> Point:
    """What the job's file says of each parameter, of several values the first."""
    return {name: value for point in reversed(own) for name, value in point.items()}


def _layer_setting(path: str) -> tuple[str, str]:
    """`sparsity`, `bits` or `step`, and which layers; empty where a path is of neither."""
    match = _PATHS.match(path)
    rest = path[match.end() :] if match else ""
    if match is None or (rest and not rest.startswith(".")):
        return "", ""
    return match[1], rest[1:]


def _speaks_of(key: str, curve: Curve, curves: tuple[Curve, ...]) -> bool:
    """As `sigdca.compression.per_layer` has it: a layer, a kind, else a prefix; none: all."""
    if not key or curve.layer == key:
        return True
    if any(other.layer == key for other in curves):
        return False
    if any(other.layer_kind == key for other in curves):
        return curve.layer_kind == key
    return curve.layer.startswith(key)


def _narrowed(
    path: str, dimension: Dimension, scan: Sensitivity, own: Sequence[float]
) -> Dimension:
    kind, key = _layer_setting(path)
    free = scan.harshest(kind, key, FREE) if kind else None
    if free is None:
        return dimension
    document = dimension.model_dump(exclude_unset=True)
    (name, ends), *_ = document.items()
    if name not in ("uniform", "loguniform", "quantized", "int"):
        return dimension
    low, high, *step = ends
    if kind == "bits":
        high = min(high, max([free, low + 1, *own]))
    else:
        low = max(low, min([free, *own]))
    if name == "quantized":  # both ends stay values of the range
        values = steps(*ends)
        low = max((value for value in values if value <= low), default=low)
        high = min((value for value in values if value >= high), default=values[-1])
    if low >= high:
        return dimension
    return Dimension.model_validate({name: [low, high, *step]})


def _alternatives(space: Space) -> Iterator[Point]:
    """Each named alternative once, the others as the seed has them."""
    choices = [
        (name, label)
        for name, _, dimension in parameters(space)
        if isinstance(dimension.choice, dict)
        for label in dimension.choice
    ]
    yield from ({name: label} for name, label in choices) if choices else ({},)


class _Seed(Suggest):
    """Gives each layer's setting as harsh as its tolerance lets it, the rest as the job has it."""

    def __init__(
        self,
        sensitivity: Sensitivity | None,
        tolerance: float,
        harshness: float,
        own: Point,
        wanted: Point,
    ) -> None:
        self._sensitivity, self._tolerance = sensitivity, tolerance
        self._harshness, self._own, self._wanted = harshness, own, wanted
        self.point: Point = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value = self._harshest(name)
        if value is None and name.endswith(".rate_lambda"):
            share = self._harshness
            value = low * (high / low) ** share if log else low + share * (high - low)
        if value is None:
            value = self._own.get(name, math.sqrt(low * high) if log else (low + high) / 2)
        value = min(high, max(low, value))
        if step is not None:
            drawn = value
            value = min(steps(low, high, step), key=lambda at: abs(at - drawn))
        self.point[name] = value
        return float(value)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._harshest(name)
        if value is None:
            value = self._own.get(name, (low + high) // 2)
        self.point[name] = min(high, max(low, int(value)))
        return int(self.point[name])

    def suggest_categorical(self, name: str, choices: list[object]) -> object:
        self.point[name] = self._wanted.get(name, self._own.get(name, choices[0]))
        return self.point[name]

    def _harshest(self, name: str) -> float | None:
        kind, key = _layer_setting(name.rpartition(":")[2])
        if not kind or self._sensitivity is None:
            return None
        return self._sensitivity.harshest(kind, key, self._tolerance)
