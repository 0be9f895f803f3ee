"""The job's `search` section: dotted paths into the file, and what is drawn for them.

The space stands outside the fields that it speaks of, so a trial is the job with some paths set
and its own file reruns alone.
"""

from __future__ import annotations

import difflib
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sigdca.job.section import Positive, Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[float, Field(ge=0.0)]

WholeEnds = tuple[int, int]  # a field of that name hides the type

FIGURES = (
    "accuracy",
    "error",
    "accuracy_drop",
    "container_bytes",
    "compression_ratio",
)
# Each as figure@target.
TARGET_FIGURES = ("latency_us", "fps", "energy_mj", "power_mw", "memory_bytes")


class Dimension(Section):
    """What one path may be: exactly one kind of distribution."""

    uniform: tuple[float, float] | None = Field(None, description="from, to")
    loguniform: tuple[float, float] | None = Field(None, description="from, to; both positive")
    quantized: tuple[float, float, float] | None = Field(None, description="from, to, step")
    int: WholeEnds | None = Field(None, description="whole numbers from, to; both included")
    choice: list[Any] | dict[str, Alternative] | None = Field(
        None, description="values; or named alternatives, each with a space of its own"
    )
    optional: dict[str, Dimension] | None = Field(
        None,
        description="of a pass of the recipe: with it or without it; what is drawn only with it",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Dimension:
        if len(self.model_fields_set) != 1:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"must be exactly one distribution ({known})")
        if self.choice is not None and not self.choice:
            raise ValueError("choice must not be empty")
        ends = self.uniform or self.loguniform or self.quantized or self.int
        if ends is not None and ends[0] >= ends[1]:
            raise ValueError(f"the first end must be below the second, got {list(ends)}")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise ValueError(f"loguniform must begin above 0, got {list(self.loguniform)}")
        if self.quantized is not None:
            low, high, step = self.quantized
            if not 0 < step <= (high - low) * (1 + 1e-9):  # 0.9 - 0.8 is a little below 0.1
                raise ValueError(f"the step must lie within the ends, got {list(self.quantized)}")
        return self


class Alternative(Section):
    """A named value of a choice, and what is drawn only where it is chosen."""

    value: Any = None
    space: dict[str, Dimension] = Field({})


class Search(Section):
    """SEARCH: which settings are tried, what counts, and when it ends."""

    space: dict[str, Dimension] = Field(
        min_length=1, description="dotted paths into this file, as --set takes them"
    )
    objectives: dict[str, Literal["min", "max"]] = Field(
        {"error": "min", "container_bytes": "min"},
        min_length=1,
        description="figures of a trial; at a target, such as latency_us@TARGET: "
        + ", ".join(TARGET_FIGURES),
    )
    sampler: Literal["tpe", "nsga2", "nsga3", "random", "grid"] = "tpe"
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="of the sampler; None: the job's"
    )
    num_trials: Positive | None = Field(None, description="end after so many trials")
    time_budget_s: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="end after so many seconds, those before --resume included"
    )
    cost: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="end when the trials have cost so much, in the unit of the prices"
    )
    prices: dict[str, Price] = Field(
        {},
        description="of one CPU for an hour, by site; a node's label sigdca.io/price comes first",
    )
    max_concurrent: Positive | None = Field(
        None, description="trials at the same time; None: as many as servers have room for"
    )
    gpus_per_trial: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0,
        description="of a GPU, what a trial takes beside its CPU: 0.25 lets four share one; they "
        "share its memory too",
    )
    fidelities: tuple[Share, ...] = Field(
        (0.0, 0.25, 1.0),
        min_length=1,
        description="shares of the recipe's epochs that a trial gets, one after the other, while "
        "it is promising; the last is 1",
    )
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5, description="the share of trials that goes on from each fidelity to the next"
    )
    sensitivity_images: Annotated[int, Field(ge=0)] = Field(
        2000,
        description="images of the train split that the scan of single layers sees; 0: no scan",
    )

    @field_validator("fidelities")
    @classmethod
    def _rising_to_one(cls, fidelities: tuple[float, ...]) -> tuple[float, ...]:
        rising = all(low < high for low, high in pairwise(fidelities))
        if not rising or fidelities[-1] != 1.0:
            raise ValueError(f"must rise and end with 1, got {list(fidelities)}")
        return fidelities

    @field_validator("objectives")
    @classmethod
    def _known_figures(cls, objectives: dict[str, str]) -> dict[str, str]:
        for name in objectives:
            figure, at, target = name.partition("@")
            known = TARGET_FIGURES if at else FIGURES
            if figure not in known or (at and not target):
                shown = [*FIGURES, *(f"{figure}@TARGET" for figure in TARGET_FIGURES)]
                near = difflib.get_close_matches(name, [*shown, *TARGET_FIGURES], n=1)
                near = [f"{found}@TARGET" if found in TARGET_FIGURES else found for found in near]
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(shown)}"
                raise ValueError(f"unknown figure '{name}'; {hint}")
        return objectives

    @model_validator(mode="after")
    def _ends(self) -> Search:
        limits = (self.num_trials, self.time_budget_s, self.cost)
        if self.sampler != "grid" and all(limit is None for limit in limits):
            raise ValueError("must end: give num_trials, time_budget_s or cost")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that objectives name, in their order."""
        named = (name.partition("@")[2] for name in self.objectives)
        return tuple(dict.fromkeys(target for target in named if target))


Dimension.model_rebuild()
