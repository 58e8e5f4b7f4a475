"""Rims of objects: the voxels that have a face neighbour outside of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def eroded(x: Tensor) -> Tensor:
    """Minimum over a voxel and its face neighbours; what is beyond the image is 0.

    Axes of a single voxel have no neighbours, so that a slice is an image.

    Args:
        x: (B, C, *spatial), bool or of at least 0.
    """
    out = x
    for axis in range(2, x.ndim):
        length = x.shape[axis]
        if length == 1:
            continue
        padding = [0, 0] * (x.ndim - 1 - axis) + [1, 1]
        padded = F.pad(x, padding)
        before, after = padded.narrow(axis, 0, length), padded.narrow(axis, 2, length)
        out = torch.minimum(out, torch.minimum(before, after))
    return out


def rim(mask: Tensor) -> Tensor:
    """Voxels of a mask that have a face neighbour outside of it, or beyond the image.

    Example:
        >>> mask = torch.ones(1, 1, 3, 4, dtype=torch.bool)
        >>> rim(mask)[0, 0].int()
        tensor([[1, 1, 1, 1],
                [1, 0, 0, 1],
                [1, 1, 1, 1]], dtype=torch.int32)
    """
    return mask & ~eroded(mask)


def soft_rim(p: Tensor) -> Tensor:
    """Probability minus its erosion: the rim, for probabilities."""
    return p - eroded(p)
