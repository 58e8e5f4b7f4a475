"""The soft skeleton in torch that autograd sees through, to any order; slow, and of much memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss_topology.soft_skeleton import ABOVE, BELOW


def plain_skeleton(x: Tensor, iterations: int, known: Tensor | None = None) -> Tensor:
    r"""As :func:`medloss_topology.soft_skeleton.soft_skeleton`; equal voxels share a gradient.

    Args:
        x: (N, \*spatial).
        iterations: of erosion.
        known: bool, broadcasts to ``x``, or None.
    """
    left, layer = torch.ones_like(x), _filled(x, known, ABOVE)
    axes = range(1, x.ndim)
    for _ in range(iterations + 1):
        eroded = _filled(_around(layer, axes, ABOVE).amin(0), known, ABOVE)
        opened = _filled(eroded, known, BELOW)
        for axis in axes:
            opened = _around(opened, [axis], BELOW).amax(0)
        removed = F.relu(layer - opened)  # whose slope at 0 is 0: there a voxel opens itself
        left = left * (1 - (removed if known is None else removed * known))
        layer = eroded
    return 1 - left


def _filled(x: Tensor, known: Tensor | None, value: float) -> Tensor:
    return x if known is None else x.where(known, value)


def _around(x: Tensor, axes: Sequence[int], beyond: float) -> Tensor:
    """Each voxel and its neighbours along some axes, one after the other on a new first axis."""
    found = [x]
    for axis in axes:
        n = x.shape[axis]
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1], value=beyond)
        found += [padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)]
    return torch.stack(found)
