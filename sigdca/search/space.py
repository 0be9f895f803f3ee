"""The space of a search: how a point of it is drawn, and the job that a point stands for.

A point is a value for each parameter that exists in it. A parameter is named by its path; one that
exists only in a named alternative of a choice, by that as well: `compress.recipe=small:PATH`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sigdca.errors import JobError
from sigdca.job import Dimension, Job, Prune, value_at, with_values

Space = Mapping[str, Dimension]
Point = dict[str, Any]

WITH, WITHOUT = "with", "without"
MAX_GRID = 100_000  # points; a larger grid is a mistake


class Suggest(Protocol):
    """Who draws values: an Optuna trial is one."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """One of the choices."""


@dataclass
class Settings:
    """What a point does to the job: values by path, then items of lists that are left out.

    A whole section comes before what lies in it, whichever was drawn first.
    """

    values: dict[str, Any] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


def draw(space: Space, suggest: Suggest) -> Settings:
    """Asks for a value of each parameter that exists, in an order that is the space's own.

    Args:
        space: the job's.
        suggest: draws; what it is asked for, by name, is the point.
    """
    settings = Settings()
    _draw(space, suggest, "", settings)
    values = sorted(settings.values.items(), key=lambda item: item[0].count("."))
    return Settings(dict(values), settings.without)


def settings_of(space: Space, point: Mapping[str, Any]) -> Settings:
    """What a point does to the job.

    Raises:
        KeyError: the point lacks a parameter, so it is of another space.
    """
    return draw(space, _Given(point))


def job_of(job: Job, space: Space, point: Mapping[str, Any], where: str) -> Job:
    """The job with a point's values.

    Raises:
        JobError: a path or value is wrong; begins with `where`.
    """
    settings = settings_of(space, point)
    return with_values(job, settings.values, where, settings.without)


def trial_job(job: Job, name: str, share: float) -> Job:
    """The job that a trial runs: no search in it, one worker, one iteration, images in memory.

    Args:
        job: the job with the trial's values.
        name: the run's name.
        share: of each pass's epochs, in [0, 1].
    """
    document = job.model_dump(mode="json", exclude_none=True)
    document.pop("search", None)
    document["name"] = name
    document["budget"].pop("time_s", None)  # it ends no search, and no trial before the others
    document["train"] |= {"workers": 1, "strategy": "ddp"}
    for key in ("workers_at_least", "deepspeed"):
        document["train"].pop(key, None)
    if document["data"].get("streaming") is not None or "/" in job.data.source:
        document["data"]["streaming"] = False
    assert job.compress is not None
    document["compress"]["iterations"] = 1
    for step, kept in zip(job.compress.recipe, document["compress"]["recipe"], strict=True):
        config = kept[step.name]
        if "epochs" in config:
            by_movement = isinstance(step.config, Prune) and step.config.importance == "movement"
            config["epochs"] = max(math.ceil(config["epochs"] * share), int(by_movement))
    return Job.model_validate(document)


def own_point(job: Job, space: Space) -> Point | None:
    """The job's own values as a point of the space; None if the space does not hold them."""
    given = _Own(job, space)
    try:
        _draw(space, given, "", Settings())
    except _OutsideError:
        return None
    return given.point


def own_points(job: Job, space: Space) -> list[Point]:
    """Points that somebody has written down: the job's own, and each named alternative's own.

    Args:
        job: the job.
        space: its space.

    Returns:
        Those that the space holds, each once: the job's own first, if it does. An alternative
        that lacks what its own space draws is none.
    """
    jobs = [job]
    for path, dimension in space.items():
        if isinstance(dimension.choice, dict):
            for alternative in dimension.choice.values():
                with suppress(JobError):  # it is no job before all is drawn
                    jobs.append(with_values(job, {path: alternative.value}, job.name))
    found: list[Point] = []
    for one in jobs:
        point = own_point(one, space)
        if point is not None and point not in found:
            found.append(point)
    return found


def corners(space: Space) -> Iterator[Point]:
    """Points in which each end and each alternative of each parameter occurs at least once."""
    for end in (0, -1):
        given = _Corner({}, end)
        _draw(space, given, "", Settings())
        yield given.point
    for name, choices in _choices(space, ""):
        for choice in choices:
            for end in (0, -1):
                given = _Corner({name: choice}, end)
                _draw(space, given, "", Settings())
                yield given.point


def grid(space: Space, where: str) -> list[Point]:
    """All points, in order.

    Raises:
        JobError: a parameter has no finite number of values, or there are too many points.
    """
    points: list[Point] = []
    open_points: list[Point] = [{}]
    while open_points:
        point = open_points.pop()
        try:
            settings_of(space, point)
        except _UnknownError as missing:
            if missing.values is None:
                raise JobError(
                    f"{where}: search.space.{missing.name}: a grid needs quantized, int or choice"
                ) from None
            open_points += [point | {missing.name: value} for value in reversed(missing.values)]
        else:
            points.append(point)
        if len(points) + len(open_points) > MAX_GRID:
            raise JobError(f"{where}: search.space: a grid of more than {MAX_GRID:,} points")
    return points


def parameters(space: Space, prefix: str = "") -> Iterator[tuple[str, str, Dimension]]:
    """All parameters, those of alternatives too: name, path, distribution."""
    for path, dimension in space.items():
        name = prefix + path
        yield name, path, dimension
        if dimension.optional is not None:
            yield from parameters(dimension.optional, prefix)
        if isinstance(dimension.choice, dict):
            for label, alternative in dimension.choice.items():
                yield from parameters(alternative.space, f"{name}={label}:")


def labels(choice: list[Any]) -> list[Any]:
    """What a sampler sees of a choice's values: themselves if simple, else their numbers."""
    simple = all(isinstance(value, bool | int | float | str | None) for value in choice)
    return list(choice) if simple else [f"#{number}" for number in range(1, len(choice) + 1)]


def _draw(space: Space, suggest: Suggest, prefix: str, settings: Settings) -> None:
    """Passes that may be left out come first, then whole sections, then what lies in them."""
    order = sorted(space.items(), key=lambda item: (item[1].optional is None, item[0].count(".")))
    for path, dimension in order:
        gone = any(path.startswith(f"{left_out}.") for left_out in settings.without)
        if not gone:
            _draw_one(path, dimension, suggest, prefix, settings)


def _draw_one(
    path: str, dimension: Dimension, suggest: Suggest, prefix: str, settings: Settings
) -> None:
    name = prefix + path
    values = settings.values
    if dimension.optional is not None:
        if suggest.suggest_categorical(name, [WITH, WITHOUT]) == WITHOUT:
            settings.without.append(path)
        else:
            _draw(dimension.optional, suggest, prefix, settings)
    elif isinstance(dimension.choice, dict):
        label = suggest.suggest_categorical(name, list(dimension.choice))
        alternative = dimension.choice[label]
        values[path] = alternative.value
        _draw(alternative.space, suggest, f"{name}={label}:", settings)
    elif dimension.choice is not None:
        shown = labels(dimension.choice)
        values[path] = dimension.choice[shown.index(suggest.suggest_categorical(name, shown))]
    elif dimension.int is not None:
        values[path] = suggest.suggest_int(name, *dimension.int)
    elif dimension.quantized is not None:
        low, high, step = dimension.quantized
        drawn = suggest.suggest_float(name, low, high, step=step)
        values[path] = float(f"{drawn:.12g}")  # 0.30000000000000004 is no figure for a file
    elif dimension.loguniform is not None:
        values[path] = suggest.suggest_float(name, *dimension.loguniform, log=True)
    else:
        assert dimension.uniform is not None
        values[path] = suggest.suggest_float(name, *dimension.uniform)


class _UnknownError(KeyError):
    """A point lacks a parameter; `values` are all that it may have, if they are finite."""

    def __init__(self, name: str, values: list[Any] | None) -> None:
        super().__init__(name)
        self.name, self.values = name, values


class _OutsideError(Exception):
    """The job's own value is not in the space."""


class _Given:
    """Gives a point's own values."""

    def __init__(self, point: Mapping[str, Any]) -> None:
        self._point = point

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        values = None if step is None else steps(low, high, step)
        return float(self._value(name, values))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._value(name, list(range(low, high + 1))))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._value(name, choices)

    def _value(self, name: str, values: list[Any] | None) -> Any:
        if name not in self._point:
            raise _UnknownError(name, values)
        return self._point[name]


class _Own:
    """Gives what the job's file says, and gathers it as a point."""

    def __init__(self, job: Job, space: Space) -> None:
        self._job, self._document = job, job.model_dump(mode="json", exclude_none=True)
        self._dimensions = {name: dimension for name, _, dimension in parameters(space)}
        self.point: Point = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value = self._number(name)
        on_step = step is None or abs((value - low) / step - round((value - low) / step)) < 1e-6
        if not low <= value <= high or not on_step:
            raise _OutsideError
        self.point[name] = value
        return value

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._number(name)
        if not low <= value <= high or value != int(value):
            raise _OutsideError
        self.point[name] = int(value)
        return int(value)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        dimension = self._dimensions[name]
        path = name.rpartition(":")[2]
        # A pass that may be left out is there, or the path would be wrong.
        value = WITH if dimension.optional is not None else self._label(path, dimension)
        self.point[name] = value
        return value

    def _label(self, path: str, dimension: Dimension) -> Any:
        """The alternative, or the label of the value, that leaves the job as it is."""
        if isinstance(dimension.choice, dict):
            values = {label: found.value for label, found in dimension.choice.items()}
        else:
            assert dimension.choice is not None
            values = dict(zip(labels(dimension.choice), dimension.choice, strict=True))
        for label, value in values.items():
            with suppress(JobError):  # an alternative that is no job before all is drawn
                if with_values(self._job, {path: value}, "") == self._job:
                    return label
        raise _OutsideError

    def _number(self, name: str) -> float:
        value = value_at(self._document, name.rpartition(":")[2])
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _OutsideError
        return value


class _Corner:
    """Gives one end of each range, and of each choice the wanted or the first value."""

    def __init__(self, wanted: Point, end: int) -> None:
        self._wanted, self._end = wanted, end
        self.point: Point = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        ends = [low, high] if step is None else steps(low, high, step)
        self.point[name] = ends[self._end]
        return ends[self._end]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.point[name] = (low, high)[self._end]
        return (low, high)[self._end]

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.point[name] = self._choice(name, choices)
        return self.point[name]

    def _choice(self, name: str, choices: list[Any]) -> Any:
        if name in self._wanted:
            return self._wanted[name]
        for wanted in self._wanted:  # an alternative in which the wanted parameter exists
            for choice in choices:
                if wanted.startswith(f"{name}={choice}:"):
                    return choice
        return choices[0]


def steps(low: float, high: float, step: float) -> list[float]:
    """All values of a quantized range."""
    count = math.floor((high - low) / step + 1e-9) + 1
    return [float(f"{low + step * number:.12g}") for number in range(count)]


def _choices(space: Space, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    for name, _, dimension in parameters(space, prefix):
        if dimension.optional is not None:
            yield name, [WITH, WITHOUT]
        elif isinstance(dimension.choice, dict):
            yield name, list(dimension.choice)
        elif dimension.choice is not None:
            yield name, labels(dimension.choice)


def middle(dimension: Dimension) -> Any:
    """A value in the middle of a range, or the first of a choice."""
    if dimension.uniform is not None:
        return sum(dimension.uniform) / 2
    if dimension.loguniform is not None:
        return math.sqrt(math.prod(dimension.loguniform))
    if dimension.quantized is not None:
        values = steps(*dimension.quantized)
        return values[len(values) // 2]
    if dimension.int is not None:
        return sum(dimension.int) // 2
    if isinstance(dimension.choice, dict):
        return next(iter(dimension.choice))
    return WITH if dimension.choice is None else labels(dimension.choice)[0]
