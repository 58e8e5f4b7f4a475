"""Rims of objects: the voxels that have a face neighbour outside of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

ABOVE = 2
"""Beyond any probability: voxels that are not known are never the least of a neighbourhood."""


def eroded(x: Tensor, known: Tensor | None = None) -> Tensor:
    """Minimum over a voxel and its face neighbours; what is beyond the image is 0.

    Axes of a single voxel have no neighbours, so that a slice is an image.

    Args:
        x: (B, C, *spatial), bool or in [0, 1].
        known: (B, 1, *spatial) bool; other voxels are neither inside nor outside: their neighbours
            do without them, and they stay as they are. None: all.
    """
    out, others = x, filled(x, known)
    for before, after in neighbours(others):
        out = torch.minimum(out, torch.minimum(before, after))
    return out


def filled(x: Tensor, known: Tensor | None) -> Tensor:
    """The same, with what is never the least in voxels that are not known."""
    if known is None:
        return x
    return x | ~known if x.dtype == torch.bool else x.where(known, ABOVE)


def neighbours(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The face neighbours of every voxel along each axis longer than 1; 0 beyond."""
    for axis in _axes(x):
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1])
        yield padded.narrow(axis, 0, x.shape[axis]), padded.narrow(axis, 2, x.shape[axis])


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(2, x.ndim) if x.shape[axis] > 1]


def rim(mask: Tensor, known: Tensor | None = None) -> Tensor:
    """Known voxels of a mask that have a face neighbour outside of it, or beyond the image.

    Args:
        mask: (B, C, *spatial) bool.
        known: (B, 1, *spatial) bool; other voxels are neither inside nor outside. None: all.

    Example:
        >>> mask = torch.ones(1, 1, 3, 4, dtype=torch.bool)
        >>> rim(mask)[0, 0].int()
        tensor([[1, 1, 1, 1],
                [1, 0, 0, 1],
                [1, 1, 1, 1]], dtype=torch.int32)
    """
    of_all = mask & ~eroded(mask, known)
    return of_all if known is None else of_all & known


def soft_rim(p: Tensor, known: Tensor | None = None) -> Tensor:
    """Probability minus its erosion: the rim, for probabilities; 0 in voxels that are not known."""
    of_all = p - eroded(p, known)
    return of_all if known is None else of_all.where(known, 0)


def soft_rim_slopes(p: Tensor, slope: Tensor, known: Tensor | None = None) -> Tensor:
    """Gradient by ``p``, for a gradient of its soft rim; equal neighbours share it."""
    if known is not None:
        p, slope = filled(p, known), slope.where(known, 0)
    steps, least = [], p
    for axis, (before, after) in zip(_axes(p), neighbours(p), strict=True):
        lower = torch.minimum(before, after)
        steps.append((axis, least, lower, before, after))
        least = torch.minimum(least, lower)
    out, kept = slope.clone(), -slope
    for axis, least, lower, before, after in reversed(steps):
        passed, kept = kept, _share_of_lower(least, lower).mul_(kept)
        passed = passed.sub_(kept)
        of_before = _share_of_lower(before, after).mul_(passed)
        of_after = passed.sub_(of_before)
        n = p.shape[axis] - 1
        out.narrow(axis, 0, n).add_(of_before.narrow(axis, 1, n))
        out.narrow(axis, 1, n).add_(of_after.narrow(axis, 0, n))
    out = out.add_(kept)
    return out if known is None else out.where(known, 0)


def _share_of_lower(one: Tensor, other: Tensor) -> Tensor:
    """What ``one`` has in the minimum of both: 1, of equal ones 1/2, or 0."""
    return (other - one).sign_().add_(1).mul_(0.5)
