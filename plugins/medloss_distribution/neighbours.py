"""Sums over the neighbourhood of each voxel, by shifts: exact, and alike on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def window_sum(x: Tensor, side: float, *, replicate: bool = False) -> Tensor:
    """Separable window (side, 1, side) along every spatial axis longer than one voxel.

    Args:
        x: (B, C, *spatial).
        side: weight of a neighbour along one axis; across a corner it is the product.
        replicate: repeat the outermost voxels beyond the image, where otherwise nothing is.
    """
    for axis in range(2, x.ndim):
        if x.shape[axis] > 1:
            before, after = _neighbours(x, axis, replicate)
            x = x + side * (before + after)
    return x


def filled(x: Tensor, valid: Tensor) -> Tensor:
    """Voxels that do not count take the mean of the nearest that do, within one voxel's reach.

    So a plane of the mask continues the image as replication continues it beyond its border.

    Args:
        x: (B, C, *spatial).
        valid: (B, 1, *spatial) bool.
    """
    known = valid.to(x)
    x = x * known
    for _ in range(2, x.ndim):  # faces, then edges, then corners
        total, count = torch.zeros_like(x), torch.zeros_like(known)
        for axis in range(2, x.ndim):
            total = total + sum(_neighbours(x, axis, False))
            count = count + sum(_neighbours(known, axis, False))
        new = (known == 0) & (count > 0)
        x = torch.where(new, total / count.clamp_min(1), x)
        known = known.masked_fill(new, 1)
    return x


def _neighbours(x: Tensor, axis: int, replicate: bool) -> tuple[Tensor, Tensor]:
    """The voxel before and the voxel after each, along an axis."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    if not replicate:
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    inner = x.shape[axis] - 1
    return (
        torch.cat([first, x.narrow(axis, 0, inner)], axis),
        torch.cat([x.narrow(axis, 1, inner), last], axis),
    )
