"""Exact squared distance transforms in plain torch, on any device.

The squared distance to the nearest site is separable: along one axis after another,
``d²(i) = min_j d²(j) + cost(i − j)``. Offsets are tried in the order of their cost and the search
ends when the next cost alone exceeds every distance found, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Site = Literal["centre", "voxel"]


def squared_distance(
    sites: Tensor, spacing_mm: Sequence[float], *, to: Site = "centre", dtype: torch.dtype
) -> Tensor:
    """Squared distance in mm² from each voxel centre to the nearest site.

    Args:
        sites: (N, *spatial) bool.
        spacing_mm: size of a voxel along each spatial axis.
        to: distance to the site's ``"centre"``, or to the nearest point of its ``"voxel"``, the
            box around the centre.
        dtype: of the result.

    Returns:
        (N, *spatial); infinite where an item has no site.

    Example:
        >>> sites = torch.tensor([[[True, False, False]]])
        >>> squared_distance(sites, (1.0, 2.0), dtype=torch.float64)
        tensor([[[ 0.,  4., 16.]]], dtype=torch.float64)
        >>> squared_distance(sites, (1.0, 2.0), to="voxel", dtype=torch.float64)
        tensor([[[0., 1., 9.]]], dtype=torch.float64)
    """
    has_site = sites.flatten(1).any(1)
    if not bool(has_site.all()):  # an item without a site would keep the search from ending early
        squared = torch.full_like(sites, torch.inf, dtype=dtype)
        if bool(has_site.any()):
            squared[has_site] = squared_distance(sites[has_site], spacing_mm, to=to, dtype=dtype)
        return squared
    squared = torch.where(sites, 0.0, torch.inf).to(dtype)
    for axis, step in enumerate(spacing_mm, start=1):
        squared = _along(squared, axis, float(step), 0.5 if to == "voxel" else 0.0)
    return squared


def _along(squared: Tensor, axis: int, step: float, radius: float) -> Tensor:
    """Minimum over k along one axis of ``squared[i + k] + (max(|k| − radius, 0) step)²``."""
    out = squared.clone()
    length = squared.shape[axis]
    for offset in range(1, length):
        cost = ((offset - radius) * step) ** 2
        # Reading the maximum back stalls a GPU, so it is asked for every few offsets only.
        if offset % 4 == 1 and cost >= float(out.max()):
            break
        near, far = out.narrow(axis, 0, length - offset), out.narrow(axis, offset, length - offset)
        from_far = squared.narrow(axis, offset, length - offset)
        from_near = squared.narrow(axis, 0, length - offset)
        torch.minimum(near, from_far + cost, out=near)
        torch.minimum(far, from_near + cost, out=far)
    return out
