"""Which weights of a container are one value, and what a train leg may change of them.

A container's tensor takes few values besides 0, each at many places (a codebook, a grid), or one
at each place (a bias). Either way it is a list of values and who takes which. The zeros and the
ties are what makes the container small: they stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_STATISTICS = (".running_mean", ".running_var")  # measured, not trained


@dataclass(frozen=True)
class Tied:
    """A tensor as its distinct values.

    Attributes:
        values: float32 [k], ascending, distinct, none of them 0.
        places: int64 [m], ascending: where the flat tensor is not 0.
        groups: int32 [m], which value stands at each of these.
        shape: the tensor's.
    """

    values: Floats
    places: NDArray[np.int64]
    groups: NDArray[np.int32]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Floats) -> Tied:
        """Finds the values of a tensor, and who takes which."""
        flat = tensor.reshape(-1)
        places = np.flatnonzero(flat)
        values, groups = np.unique(flat[places], return_inverse=True)
        return cls(values, places, groups.reshape(-1).astype(np.int32), tensor.shape)

    def moved(self, groups: NDArray[np.integer]) -> Tied:
        """The same values at the same places, in another order."""
        return replace(self, groups=groups.astype(np.int32))

    def with_values(self, values: Floats) -> Floats:
        """The tensor with other values at the same places."""
        flat = np.zeros(int(np.prod(self.shape)), np.float32)
        flat[self.places] = values[self.groups]
        return flat.reshape(self.shape)


def is_trained(name: str) -> bool:
    """Whether training may change a tensor: all but a batch norm's statistics."""
    return not name.endswith(_STATISTICS)
