"""Signed distance maps of masks: negative inside, positive outside."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medloss.distance.separable import squared_distance
from medloss.spacing import Spacing

Convention = Literal["surface", "kervadec", "symmetric"]
Empty = Literal["distance_to_border", "zero"]
CONVENTIONS = ("surface", "kervadec", "symmetric")
EMPTY = ("distance_to_border", "zero")


@torch.no_grad()
def signed_distance(
    mask: Tensor,
    spacing_mm: Spacing,
    *,
    convention: Convention = "surface",
    empty: Empty = "distance_to_border",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Signed distance in mm from each voxel centre to the boundary of a mask.

    ``surface``
        to the surface of the mask's voxels: zero on the voxel faces between inside and outside, so
        the voxels on either side of a face lie half a voxel away, −s/2 and +s/2.
    ``kervadec``
        outside the distance to the nearest inside centre; inside −(distance to the nearest outside
        centre − h), h the smallest spacing: the rim of the mask is 0. At unit spacing this is the
        integer map of the paper's code.
    ``symmetric``
        distance between centres on both sides, which jumps from −s to +s across a face.

    Args:
        mask: (B, C, \*spatial) bool.
        spacing_mm: per sample and axis.
        convention: where zero is.
        empty: map of a mask that is empty (or full): ``distance_to_border`` is plus (minus) the
            distance to the border of the image, the least that an unseen object can be away;
            ``zero`` makes the class silent.
        dtype: of the result.

    Example:
        >>> mask = torch.tensor([[[[False, False, True, True, False]]]])
        >>> signed_distance(mask, ((1.0, 2.0),))
        tensor([[[[ 3.,  1., -1., -1.,  1.]]]])
    """
    maps = [
        _signed(sample, row, convention, empty, dtype)
        for sample, row in zip(mask, spacing_mm, strict=True)
    ]
    return torch.stack(maps)


def _signed(
    mask: Tensor, spacing_mm: tuple[float, ...], convention: str, empty: str, dtype: torch.dtype
) -> Tensor:
    """Maps of the classes of one sample, (C, *spatial)."""
    to: Literal["centre", "voxel"] = "voxel" if convention == "surface" else "centre"
    outside = squared_distance(mask, spacing_mm, to=to, dtype=dtype).sqrt()
    inside = squared_distance(~mask, spacing_mm, to=to, dtype=dtype).sqrt()
    if convention == "kervadec":
        inside = (inside - min(spacing_mm)).clamp_min(0)
    signed = torch.where(mask, -inside, outside)
    one_sided = signed.isinf()
    if empty == "zero":
        return torch.where(one_sided, 0, signed)
    border = _distance_to_border(mask, spacing_mm, dtype)
    return torch.where(one_sided, border.copysign(signed), signed)


def _distance_to_border(mask: Tensor, spacing_mm: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    """Distance from each voxel centre to the nearest face of the image, broadcastable to mask."""
    nearest = torch.full_like(mask, torch.inf, dtype=dtype)
    for axis, step in enumerate(spacing_mm, start=1):
        length = mask.shape[axis]
        index = torch.arange(length, device=mask.device, dtype=dtype)
        along = (torch.minimum(index, length - 1 - index) + 0.5) * step
        shape = [1] * mask.ndim
        shape[axis] = length
        nearest = torch.minimum(nearest, along.view(shape))
    return nearest
