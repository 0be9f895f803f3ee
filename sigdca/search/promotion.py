"""Which trials go on from one fidelity to the next.

Successive halving without waiting (Li et al., "A system for massively parallel hyperparameter
tuning", MLSys 2020), with dominance in place of one figure where several objectives count, and the
budget before them.
"""

from __future__ import annotations

import math

from sigdca.search.objectives import Values, layers

WINDOW = 200  # the last trials at a fidelity, among which a new one is placed


class Promotion:
    """What is known at each fidelity, and who goes on."""

    def __init__(self, num_fidelities: int, keep: float) -> None:
        """Knows nothing yet.

        Args:
            num_fidelities: from the lowest, 0, to the full one.
            keep: the share that goes on from each to the next.
        """
        self._keep = keep
        self._known: list[dict[int, tuple[float, Values]]] = [{} for _ in range(num_fidelities)]

    def add(self, trial: int, fidelity: int, violation: float, values: Values) -> None:
        """Notes what a trial gave at a fidelity.

        Args:
            trial: its number.
            fidelity: which.
            violation: by how much it missed the budget; 0: not at all.
            values: its objectives, each to be minimised.
        """
        known = self._known[fidelity]
        known.pop(trial, None)
        known[trial] = (violation, values)
        if len(known) > WINDOW:
            del known[next(iter(known))]

    def goes_on(self, trial: int, fidelity: int) -> bool:
        """Whether a trial that was added is among the best `keep` of the last at its fidelity.

        One that misses the budget is worse than one that meets it, then one on a deeper front,
        then what misses it by more. By how much is itself an objective of the fronts: at a low
        fidelity nothing may meet it yet, and what is small because it is ruined must not lead.
        """
        known = self._known[fidelity]
        numbers = list(known)
        depths = layers([(*values, violation) for violation, values in known.values()])
        rank = {
            number: (known[number][0] > 0, depth, known[number][0], number)
            for number, depth in zip(numbers, depths, strict=True)
        }
        better = sum(1 for number in numbers if rank[number] < rank[trial])
        return better < math.ceil(self._keep * len(numbers))
