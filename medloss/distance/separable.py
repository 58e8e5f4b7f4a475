"""Exact distances in plain torch, on any device: the backend that every other must equal.

The squared distance to the nearest site is separable: along one axis after another,
``d²(i) = min_k d²(k) + cost(k − i)``. Offsets are tried in the order of their cost and the search
ends when the next cost alone exceeds every distance found, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.runtime.memory import use_large_pages


class Measurement(NamedTuple):
    r"""What a backend is asked to measure.

    Args:
        mask: (B, C, \*spatial) bool, 2D or 3D.
        spacing_mm: a row of sizes for each sample.
        radius: half the extent of the boxes that are measured to, in voxels: 0 is to centres, 0.5
            to the nearest point of a voxel.
        inside: what distances of True voxels are multiplied with, -1, 0 or 1.
        outside: likewise of False voxels.
        skip: channels of 0 that are put before those of the mask.
        dtype: float32 or float64.
        shift: in voxels along each axis, from the centre of a voxel to the point that is measured
            from; at most ``radius``, so that the point lies in its own box. Empty is 0.
    """

    mask: Tensor
    spacing_mm: Sequence[Sequence[float]]
    radius: float = 0.0
    inside: int = 1
    outside: int = 1
    skip: int = 0
    dtype: torch.dtype = torch.float32
    shift: Sequence[float] = ()

    def result(self) -> Tensor:
        r"""Memory for what is measured, (B, skip + C, \*spatial), with 0 in the first channels."""
        batch, classes, *spatial = self.mask.shape
        shape = (batch, self.skip + classes, *spatial)
        out = torch.empty(shape, dtype=self.dtype, device=self.mask.device)
        if out.device.type == "cpu":
            use_large_pages(out)
        out[:, : self.skip] = 0
        return out


def distances(asked: Measurement) -> Tensor:
    r"""Distance in mm from the centre of each voxel to the nearest voxel of the other kind.

    Returns:
        (B, skip + C, \*spatial); where there is no voxel of the other kind, infinite times the
        factor (0 where that is 0).
    """
    out = asked.result().zero_()
    shift = asked.shift or [0.0] * (out.ndim - 2)
    for signed, kinds, row in zip(out[:, asked.skip :], asked.mask, asked.spacing_mm, strict=True):
        for sites, factor in ((~kinds, asked.inside), (kinds, asked.outside)):
            if factor:  # each is 0 on its own sites
                signed += factor * _to(sites, row, asked.radius, shift, asked.dtype)
    return out


def _to(
    sites: Tensor,
    steps: Sequence[float],
    radius: float,
    shift: Sequence[float],
    dtype: torch.dtype,
) -> Tensor:
    """Distance from each voxel to the nearest site, (C, *spatial)."""
    distance = torch.full_like(sites, torch.inf, dtype=dtype)
    found = sites.flatten(1).any(1)
    if bool(found.any()):  # a class without a site would keep the search from ending early
        squared = torch.where(sites[found], 0.0, torch.inf).to(dtype)
        for axis, (step, moved) in enumerate(zip(steps, shift, strict=True), start=1):
            squared = _along(squared, axis, float(step), radius, moved)
        distance[found] = squared.sqrt()
    return distance


def _along(squared: Tensor, axis: int, step: float, radius: float, moved: float) -> Tensor:
    """Minimum over k along an axis of ``squared[i + k] + (max(|k − moved| − radius, 0) step)²``."""
    out = squared.clone()
    length = squared.shape[axis]
    for offset in range(1, length):
        ahead, behind = ((max(offset - side * moved - radius, 0) * step) ** 2 for side in (1, -1))
        # Reading the maximum back stalls a GPU, so it is asked for every few offsets only.
        if offset % 4 == 1 and min(ahead, behind) >= float(out.max()):
            break
        near, far = out.narrow(axis, 0, length - offset), out.narrow(axis, offset, length - offset)
        from_far = squared.narrow(axis, offset, length - offset)
        from_near = squared.narrow(axis, 0, length - offset)
        torch.minimum(near, from_far + ahead, out=near)
        torch.minimum(far, from_near + behind, out=far)
    return out
