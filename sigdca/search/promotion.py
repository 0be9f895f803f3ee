"""Which trials go on from one fidelity to the next.

Successive halving without waiting (Li et al., "A system for massively parallel hyperparameter
tuning", MLSys 2020), with dominance in place of one figure where several objectives count.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sigdca.search.objectives import Values, layers

WINDOW = 200  # the last trials at a fidelity, among which a new one is placed

Outcome = tuple[float, Values]
"""By how much the budget is missed, 0: not at all; and the objectives, each to be minimised."""


@dataclass
class _Known:
    """What a trial gave at a fidelity.

    Attributes:
        violation: by how much it missed the budget; 0: not at all.
        values: its objectives, each to be minimised.
        went_on: whether it was told to go on.
    """

    violation: float
    values: Values
    went_on: bool = False


class Promotion:
    """What is known at each fidelity, and who goes on."""

    def __init__(self, num_fidelities: int, keep: float) -> None:
        """Knows nothing yet.

        Args:
            num_fidelities: from the lowest, 0, to the full one.
            keep: the share that goes on from each to the next.
        """
        self._keep = keep
        self._known: list[dict[int, _Known]] = [{} for _ in range(num_fidelities)]
        self._met_later: list[float | None] = [None] * num_fidelities

    def add(
        self,
        trial: int,
        fidelity: int,
        violation: float,
        values: Values,
        *,
        went_on: bool = False,
    ) -> None:
        """Notes what a trial gave at a fidelity.

        Args:
            trial: its number.
            fidelity: which.
            violation: by how much it missed the budget; 0: not at all.
            values: its objectives, each to be minimised.
            went_on: of one from before: whether it went on, and then came to nothing.
        """
        for below in range(fidelity):
            if (lower := self._known[below].get(trial)) is not None:
                lower.went_on = True
                if violation == 0:
                    self._met_later[below] = max(lower.violation, self._met_later[below] or 0.0)
        known = self._known[fidelity]
        known.pop(trial, None)
        known[trial] = _Known(violation, values, went_on)
        if len(known) > WINDOW:
            del known[next(iter(known))]

    def numbers(self, fidelity: int) -> list[int]:
        """The last trials at a fidelity, among which a new one is placed."""
        return list(self._known[fidelity])

    def goes_on(
        self, trial: int, fidelity: int, expected: Mapping[int, Outcome] | None = None
    ) -> bool:
        """Whether a trial, just added, is among the best `keep` of the last at its fidelity.

        One on a deeper front is worse; by how much the budget is missed is one more objective of
        the fronts. Of one front, as many go on as there is room for, whoever comes first: it is
        as good at each of its ends.

        Args:
            trial: its number.
            fidelity: at which it has ended.
            expected: what those of `numbers` come to at full fidelity of whom that can be told; no
                others count. What misses the budget there is worse than all that meets it. Without
                it, or of a trial that is not in it, they are placed by what they gave here: on one
                front, what misses the budget by far comes last, for it is small because it is
                ruined; more training will move the others towards it.
        """
        known = self._known[fidelity]
        if expected is None or trial not in expected:
            ranks = self._ranks(fidelity)
        else:
            known = {number: place for number, place in known.items() if number in expected}
            ranks = _expected_ranks(known, expected)
        mine = ranks[list(known).index(trial)]
        places = list(known.values())
        before = sum(
            rank < mine or (rank == mine and place.went_on and place is not known[trial])
            for rank, place in zip(ranks, places, strict=True)
        )
        known[trial].went_on = before < math.ceil(self._keep * len(places))
        return known[trial].went_on

    def _ranks(self, fidelity: int) -> list[tuple[int, bool]]:
        places = list(self._known[fidelity].values())
        depths = layers([(*place.values, place.violation) for place in places])
        most = self._most(fidelity)
        return [
            (depth, place.violation > most) for place, depth in zip(places, depths, strict=True)
        ]

    def has_gone_on(self, trial: int, fidelity: int) -> bool:
        """Whether a trial was told to go on from a fidelity."""
        known = self._known[fidelity].get(trial)
        return known is not None and known.went_on

    def stays(self, trial: int, fidelity: int) -> None:
        """A trial that was told to go on does not: its place is another's."""
        self._known[fidelity][trial].went_on = False

    def _most(self, fidelity: int) -> float:
        """By how much a trial may miss the budget at a fidelity and still have a future.

        Twice as much as any has that met it later; where none has yet, thrice what is usual.
        """
        if (met_later := self._met_later[fidelity]) is not None:
            return 2 * met_later
        return 3 * statistics.median(place.violation for place in self._known[fidelity].values())


def _expected_ranks(
    numbers: Iterable[int], expected: Mapping[int, Outcome]
) -> list[tuple[int, bool]]:
    outcomes = [expected[number] for number in numbers]
    depths = layers([(*values, violation) for violation, values in outcomes])
    deepest = max(depths) + 1
    return [
        (depth + deepest * (violation > 0), False)
        for depth, (violation, _) in zip(depths, outcomes, strict=True)
    ]
