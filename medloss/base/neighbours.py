"""Largest values among neighbours, and their gradient: shifted slices, one axis after the other.

On a CPU that is many times faster than torch's pooling, which looks for the place of each maximum
and keeps it in 8 bytes. Nothing is kept here: the backward looks again, and values that are equal
share a gradient, so that it does not depend on the order in which voxels are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def dilations(x: Tensor, axes: Sequence[int]) -> list[Tensor]:
    """``x``, then the maximum over a voxel and both its neighbours along one axis after the other.

    What is beyond the image is left out. An axis that is named r times reaches r voxels far.
    """
    steps = [x]
    for axis in axes:
        out = steps[-1].clone(memory_format=torch.contiguous_format)
        spread(torch.maximum, out, steps[-1], axis)
        steps.append(out)
    return steps


def by_dilations(steps: list[Tensor], slope: Tensor, axes: Sequence[int]) -> Tensor:
    """Gradient by what :func:`dilations` began with, for one of what it ended with."""
    for k in range(len(axes) - 1, -1, -1):
        slope = shared(steps[k], steps[k + 1], slope, [axes[k]])
    return slope


def spread(choose: Callable[..., Tensor], out: Tensor, x: Tensor, axis: int) -> None:
    """Choose between ``out`` and both neighbours in ``x`` along an axis, in place."""
    n = x.shape[axis] - 1
    if n > 0:
        later, earlier = out.narrow(axis, 1, n), out.narrow(axis, 0, n)
        choose(later, x.narrow(axis, 0, n), out=later)
        choose(earlier, x.narrow(axis, 1, n), out=earlier)


def shared(x: Tensor, chosen: Tensor, slope: Tensor, axes: Sequence[int]) -> Tensor:
    """The gradient of a choice among a voxel and its neighbours along axes, in equal shares."""
    own = x == chosen
    count = own.to(torch.uint8)
    hits = []
    for axis in axes:
        n = x.shape[axis] - 1
        for source, result in ((0, 1), (1, 0)) if n > 0 else ():
            hit = x.narrow(axis, source, n) == chosen.narrow(axis, result, n)
            count.narrow(axis, result, n).add_(hit)
            hits.append((axis, n, source, result, hit))
    share = slope / count.clamp_min_(1)
    out = share * own
    for axis, n, source, result, hit in hits:
        out.narrow(axis, source, n).addcmul_(share.narrow(axis, result, n), hit.to(share.dtype))
    return out


def around(x: Tensor, axes: Sequence[int], beyond: float) -> Tensor:
    """Each voxel and its neighbours along some axes, one after the other on a new first axis.

    Plain torch, for derivatives of any order.
    """
    found = [x]
    for axis in axes:
        n = x.shape[axis]
        padded = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [1, 1], value=beyond)
        found += [padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)]
    return torch.stack(found)
