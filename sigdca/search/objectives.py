"""What counts: objectives, dominance, the Pareto front and its hypervolume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Values = tuple[float, ...]


def values_of(objectives: Mapping[str, str], figures: Mapping[str, float | None]) -> Values | None:
    """A trial's objectives, each to be minimised; None if a figure is missing or not a number.

    Args:
        objectives: figure -> `min` or `max`.
        figures: what was measured.
    """
    values = []
    for name, direction in objectives.items():
        value = figures.get(name)
        if value is None or not math.isfinite(value):
            return None
        values.append(value if direction == "min" else -value)
    return tuple(values)


def dominates(one: Values, other: Values) -> bool:
    """Whether `one` is nowhere worse and somewhere better; all are to be minimised."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def front(points: Sequence[Values]) -> list[int]:
    """The places of the points that no other dominates; of equal ones, the first."""
    order = sorted(range(len(points)), key=lambda place: (points[place], place))
    kept: list[int] = []
    for place in order:  # sorted: no later one dominates an earlier one
        point = points[place]
        if len(point) <= 2:  # and the last one that was kept is the best along the last axis
            if not kept or point[-1] < points[kept[-1]][-1]:
                kept.append(place)
        elif not any(points[k] == point or dominates(points[k], point) for k in kept):
            kept.append(place)
    return sorted(kept)


def layers(points: Sequence[Values]) -> list[int]:
    """For each point, how many fronts must be taken away before it is on one."""
    found = [0] * len(points)
    left = list(range(len(points)))
    depth = 0
    while left:
        chosen = {left[place] for place in front([points[place] for place in left])}
        chosen |= {place for place in left if any(points[place] == points[k] for k in chosen)}
        for place in chosen:
            found[place] = depth
        left = [place for place in left if place not in chosen]
        depth += 1
    return found


def hypervolume(points: Sequence[Values], reference: Values) -> float:
    """How much of the space below `reference` the points dominate (all to be minimised).

    By slices along the last axis (Zitzler 1999): exact, for a front of some hundred points in two
    or three objectives.

    Args:
        points: any points; those that are not below the reference count nothing.
        reference: the worst corner.
    """
    inside = [
        point for point in points if all(a < b for a, b in zip(point, reference, strict=True))
    ]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in inside)
    inside = [inside[place] for place in front(inside)]
    inside.sort(key=lambda point: point[-1])
    ends = [point[-1] for point in inside[1:]] + [reference[-1]]
    volume = 0.0
    for number, (point, end) in enumerate(zip(inside, ends, strict=True), 1):
        if end > point[-1]:
            if len(reference) == 2:  # on a front, the last point is the best along the other axis
                below = reference[0] - point[0]
            else:
                below = hypervolume([found[:-1] for found in inside[:number]], reference[:-1])
            volume += below * (end - point[-1])
    return volume
