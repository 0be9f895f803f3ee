"""A fully connected layer whose weights are spread, and are never whole in any process.

The first FC layer holds three quarters of VGG-16. Gathered whole, it and its gradient would take
more memory than spreading all the others saves; so it is gathered, used and forgotten in tiles.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

STREAMED_FROM = 2**22  # weights of a layer that is worth it
TILE_WEIGHTS = 2**21  # so many of them are there at a time


class StreamedLinear(nn.Module):
    """As `nn.Linear`, with the same names of parameters; `weight` is a DTensor, cut by outputs."""

    def __init__(self, whole: nn.Linear, mesh: DeviceMesh) -> None:
        """Keeps this process's part of `whole`."""
        super().__init__()
        self.weight = nn.Parameter(distribute_tensor(whole.weight.detach(), mesh, [Shard(0)]))
        self.bias = whole.bias

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs] to [n, outputs]."""
        weight = self.weight
        assert isinstance(weight, DTensor)
        out: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            x, weight.to_local(), len(weight), weight.device_mesh
        )
        return out if self.bias is None else out + self.bias.to(out.dtype)


class _Product(torch.autograd.Function):
    """x times the transposed weights of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, own: Tensor, num_outputs: int, mesh: DeviceMesh) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        ctx.save_for_backward(x, own)
        ctx.num_outputs, ctx.mesh, ctx.dtype = num_outputs, mesh, dtype
        x = x.to(dtype)
        out = x.new_empty(len(x), num_outputs)
        tiles = _tiles(own, num_outputs, mesh)
        room = _room(own, tiles, mesh)
        for start, rows in tiles:
            weights = _gathered(own, start, rows, mesh, room)
            for place, part in _parts(start, weights, num_outputs):
                out[:, place] = x @ part.to(dtype).T
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, own = ctx.saved_tensors
        mesh, num_outputs = ctx.mesh, ctx.num_outputs
        slope, inputs = slopes[0].to(ctx.dtype), x.to(ctx.dtype)
        below = torch.zeros_like(inputs) if ctx.needs_input_grad[0] else None
        gradient = torch.empty_like(own)
        tiles = _tiles(own, num_outputs, mesh)
        room, second = _room(own, tiles, mesh), _room(own, tiles, mesh)
        third = own.new_empty(tiles[0][1], own.shape[1])
        for start, rows in tiles:
            weights = _gathered(own, start, rows, mesh, room)
            gradients = second[: weights.numel()].zero_().view_as(weights)
            pairs = zip(
                _parts(start, weights, num_outputs),
                _parts(start, gradients, num_outputs),
                strict=True,
            )
            for (place, part), (_, into) in pairs:
                if below is not None:
                    below.addmm_(slope[:, place], part.to(ctx.dtype))
                if ctx.dtype == into.dtype:
                    torch.mm(slope[:, place].T, inputs, out=into)
                else:
                    into.copy_(slope[:, place].T @ inputs)
            here = third[:rows]
            dist.reduce_scatter_single(here, gradients.flatten(0, 1), group=mesh.get_group())
            kept = gradient[start : start + rows]
            torch.div(here[: len(kept)], mesh.size(), out=kept)
        return None if below is None else below.to(x.dtype), gradient, None, None


def _tiles(own: Tensor, num_outputs: int, mesh: DeviceMesh) -> list[tuple[int, int]]:
    """(first row, rows) of each tile, counted from a process's first row; alike in all."""
    rows = -(-num_outputs // mesh.size())
    height = max(1, TILE_WEIGHTS // (own.shape[1] * mesh.size()))
    return [(start, min(height, rows - start)) for start in range(0, rows, height)]


def _room(own: Tensor, tiles: list[tuple[int, int]], mesh: DeviceMesh) -> Tensor:
    """What holds any of the tiles: one for all, for an allocator keeps what is given back."""
    return own.new_empty(tiles[0][1] * mesh.size() * own.shape[1])


def _gathered(own: Tensor, start: int, rows: int, mesh: DeviceMesh, room: Tensor) -> Tensor:
    """[processes, rows, inputs]: those rows of each process; the last has fewer, then zeros."""
    mine = own[start : start + rows]
    if len(mine) < rows:
        mine = torch.cat([mine, mine.new_zeros(rows - len(mine), own.shape[1])])
    found = room[: mesh.size() * rows * own.shape[1]].view(-1, own.shape[1])
    dist.all_gather_single(found, mine.contiguous(), group=mesh.get_group())
    return found.view(mesh.size(), rows, own.shape[1])


def _parts(start: int, tile: Tensor, num_outputs: int) -> list[tuple[slice, Tensor]]:
    """Which outputs each process's rows of a tile compute, and those rows."""
    num_processes, rows = tile.shape[:2]
    share = -(-num_outputs // num_processes)
    found = []
    for rank in range(num_processes):
        first = rank * share + start
        last = min(first + rows, (rank + 1) * share, num_outputs)
        if last > first:
            found.append((slice(first, last), tile[rank, : last - first]))
    return found
