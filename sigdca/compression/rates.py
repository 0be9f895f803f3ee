"""What the levels of a parameter would cost an entropy coder, as far as training needs to know."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

MAX_LEVEL = 30  # levels beyond cost as much
PRIOR = 16  # weights of the whole's density that a row or column counts besides its own
BLOCK = 2**16  # values that are looked through at a time
_BITS = 1.4426950408889634  # bits in a nat


@dataclass(frozen=True)
class Rates:
    """An empirical model of a parameter's levels.

    A weight is zero or not with a probability of its row and column: the odds of the whole, times
    how much its row's and its column's odds differ from those. So weights become cheap where
    others are, and rows and columns empty together. Given that it is not zero, its sign takes a
    bit and its magnitude what the layer's counts say.

    Attributes:
        entered: bits that a weight costs more as level 1 than as 0, the magnitude left out; of the
            parameter's shape.
        first: the same with the magnitude, 0 at least.
        magnitude: float32 [MAX_LEVEL + 1], bits of sign and magnitude; 0 at level 0; not falling.
    """

    entered: Tensor
    first: Tensor
    magnitude: Tensor

    @classmethod
    def of(cls, levels: Tensor) -> Rates:
        """Counts the levels of a parameter, of any shape; rows are its first axis."""
        used = levels != 0
        sizes = _whole(_as_it_lies(levels)[_as_it_lies(used)])
        magnitude = _magnitude_bits(torch.bincount(sizes, minlength=MAX_LEVEL + 1))
        magnitude = magnitude.to(levels.device)
        # Laid out in memory as the levels are: sums over two orders are many times slower.
        entered = torch.empty_like(levels).copy_(_log_odds(used)).mul_(-_BITS)
        return cls(entered, (entered + magnitude[1]).clamp_(min=0), magnitude)

    def bits(self, levels: Tensor) -> float:
        """What levels of the parameter's shape cost, all together."""
        sizes = _whole(levels)
        unused = softplus(self.entered.double() / -_BITS) * _BITS
        used = unused + self.entered + self.magnitude[sizes]
        return float(torch.where(sizes != 0, used, unused).sum())

    def slope(self, latent: Tensor, out: Tensor | None = None) -> Tensor:
        """How many bits a latent level costs more per unit that it grows; its sign is the level's.

        The bits of whole levels, joined by straight lines.

        Args:
            latent: levels, not rounded, of the parameter's shape.
            out: where the result goes, of the same shape; None: a tensor of its own.
        """
        if latent.is_cuda:
            return self._slope_of_all(latent, out)
        return self._slope_of_few(latent, out)

    def _rises(self) -> Tensor:
        """How many bits more each level's next one has; none beyond the last."""
        return torch.diff(self.magnitude, append=self.magnitude[-1:])

    def _slope_of_few(self, latent: Tensor, out: Tensor | None) -> Tensor:
        """Levels of 1 and more, few in a sparse network, are looked for."""
        slope = torch.sign(latent, out=out).mul_(self.first)
        flat, into = _as_it_lies(latent), _as_it_lies(slope)
        large = _large(flat)
        size = flat[large]
        into[large] = self._rises()[_whole(size)] * torch.sign(size)
        return slope

    def _slope_of_all(self, latent: Tensor, out: Tensor | None) -> Tensor:
        """The same without asking a GPU how many these are, for which it would stop."""
        below = _whole(latent)
        size = torch.where(below > 0, self._rises()[below], self.first)
        return torch.mul(torch.sign(latent), size, out=out)


def _as_it_lies(tensor: Tensor) -> Tensor:
    """A dense tensor's values as one row, in the order of memory; no copy."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _whole(latent: Tensor) -> Tensor:
    """The whole level below each one's size, MAX_LEVEL at most; int64.

    What is no number any more counts as 0: that it is so is for the loss to say.
    """
    return latent.abs().clamp_(max=MAX_LEVEL).nan_to_num_().long()


def _large(values: Tensor) -> Tensor:
    """Where values are 1 or more in size; in blocks, which fit into a processor's cache."""
    found = [
        torch.nonzero(block.abs() >= 1)[:, 0] + index * BLOCK
        for index, block in enumerate(torch.split(values, BLOCK))
    ]
    return torch.cat(found)


def _magnitude_bits(counts: Tensor) -> Tensor:
    """Sign and magnitude; a level that has not been seen counts a little, to have a price."""
    seen = counts[1:].double().cpu()
    seen += 0.5 ** torch.arange(1, len(seen) + 1, dtype=torch.float64)
    bits = 1 - torch.log2(seen / seen.sum())
    return torch.cat([torch.zeros(1), torch.cummax(bits, 0).values.float()])


def _log_odds(used: Tensor) -> Tensor:
    """Of each weight not to be zero, from how full its row, its column and the whole are."""
    density = (int(torch.count_nonzero(used)) + 0.3) / (used.numel() + 0.6)
    whole = math.log(density / (1 - density))
    if used.dim() < 2:
        return torch.full(used.shape, whole, device=used.device)

    def odds(axes: tuple[int, ...]) -> Tensor:
        count = used.sum(axes, keepdim=True, dtype=torch.float32).double()
        size = used.numel() / count.numel()
        return torch.logit((count + PRIOR * density) / (size + PRIOR))

    rows, columns = odds(tuple(range(1, used.dim()))), odds((0,))
    return rows.float() + (columns - whole).float()
